package wire

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"

	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sampleOrder() flink.Order {
	return flink.Order{
		UID: "0198c1", Tenant: "default", Name: "clicks", Labels: map[string]string{"team": "web", "a": "b"},
		Generation: 3, Term: 2, Restart: 1,
		Spec: flink.Default(flink.Spec{
			Cluster: "eu-1", FlinkVersion: "2.3",
			Jar:         flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main", Args: []string{"--rate", "100"}},
			Parallelism: 2, FlinkConfiguration: map[string]string{"z": "1", "a": "2", "m": "3"},
			StateStorage: flink.StateStorage{Root: "s3://bucket/prefix"},
		}),
	}
}

func TestOrderBytesStayTheSameFromVersionToVersion(t *testing.T) {
	body, err := OrderBytes(sampleOrder())
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "order.hex")
	got := hex.Dump(body)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("stored orders of this version differ from those of the last (-want +got):\n%s", diff)
	}
}

func words() *rapid.Generator[string] { return rapid.StringMatching(`[a-zé0-9 ./:-]{0,12}`) }

func specs() *rapid.Generator[flink.Spec] {
	return rapid.Custom(func(t *rapid.T) flink.Spec {
		s := flink.Spec{
			Cluster:       words().Draw(t, "cluster"),
			State:         rapid.SampledFrom([]string{"", flink.StateRunning, flink.StateSuspended}).Draw(t, "state"),
			FlinkVersion:  words().Draw(t, "version"),
			Image:         words().Draw(t, "image"),
			Jar:           flink.Jar{URI: words().Draw(t, "uri"), EntryClass: words().Draw(t, "class"), Args: list(rapid.SliceOfN(words(), 0, 3).Draw(t, "args"))},
			Parallelism:   rapid.Int32().Draw(t, "parallelism"),
			UpgradeMode:   rapid.SampledFrom([]string{"", flink.UpgradeSavepoint, flink.UpgradeStateless}).Draw(t, "mode"),
			Switch:        rapid.SampledFrom([]string{"", flink.SwitchWarm, flink.SwitchCold}).Draw(t, "switch"),
			StateStorage:  flink.StateStorage{Root: words().Draw(t, "root")},
			Checkpointing: flink.Checkpointing{Interval: words().Draw(t, "interval")},
			JobManager:    flink.Resources{CPU: words().Draw(t, "cpu"), Memory: words().Draw(t, "memory")},
			StartFrom:     flink.StartFrom{Snapshot: words().Draw(t, "snapshot")},
		}
		s.TaskManager.CPU, s.TaskManager.Memory = words().Draw(t, "tmcpu"), words().Draw(t, "tmmemory")
		s.TaskManager.Slots = rapid.Int32().Draw(t, "slots")
		s.FlinkConfiguration = table(rapid.MapOfN(words(), words(), 0, 3).Draw(t, "configuration"))
		return s
	})
}

func TestOrderSurvivesTheWayThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := flink.Order{
			UID: words().Draw(t, "uid"), Tenant: words().Draw(t, "tenant"), Name: words().Draw(t, "name"),
			Labels:     table(rapid.MapOfN(words(), words(), 0, 3).Draw(t, "labels")),
			Generation: rapid.Int32().Draw(t, "generation"), Term: rapid.Int32().Draw(t, "term"), Restart: rapid.Int32().Draw(t, "restart"), RestartFrom: words().Draw(t, "restartFrom"),
			Spec: specs().Draw(t, "spec"),
		}
		body, err := OrderBytes(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OrderFromBytes(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("order changed on the way (-want +got):\n%s", diff)
		}
		again, err := OrderBytes(got)
		if err != nil || string(again) != string(body) {
			t.Fatalf("same order, other bytes (%v)", err)
		}
	})
}

func TestStatusSurvivesTheWayThereAndBack(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	want := flink.Status{
		ObservedGeneration: 3, RecordedGeneration: 4, State: flink.Running, Term: 2, Run: 7,
		Flink:      flink.FlinkStatus{JobID: "ab", State: "RUNNING", TasksRunning: 3, TasksTotal: 4, Parallelism: 2, Checkpoints: 9, Version: "2.3.0", StartTime: at},
		Snapshot:   flink.Snapshot{Path: "file:/s/chk-4", Kind: flink.KindCheckpoint, ID: 4, CompletedAt: at, Run: flink.Run{UID: "u", Term: 2, Run: 6}},
		Restored:   flink.RestoredStatus{Intended: "a", Actual: "b", Proven: true},
		Situation:  "InSync",
		Message:    "runs",
		Conditions: []flink.Condition{{Type: flink.ConditionReady, Status: flink.True, Reason: "r", Message: "m", LastTransitionTime: at}},
		Transitions: []flink.Transition{
			{At: at, Situation: "Warming", State: flink.Starting, Message: "m", Run: 7},
		},
		Links: flink.Links{FlinkUI: "http://127.0.0.1:1", Logs: []string{"/l"}, CheckpointsDir: "/c", SavepointsDir: "/s"},
		AsOf:  at, Gone: true,
	}
	if diff := cmp.Diff(want, StatusFromProto("u", StatusToProto(want))); diff != "" {
		t.Errorf("status changed on the way (-want +got):\n%s", diff)
	}
	if got := StatusFromProto("u", StatusToProto(flink.Status{})); !cmp.Equal(got, flink.Status{}) {
		t.Errorf("zero status became %+v", got)
	}
	if got := StatusFromProto("u", nil); !cmp.Equal(got, flink.Status{}) {
		t.Errorf("no status became %+v", got)
	}
}

func TestJobFromProtoTellsNoExpectationFromZero(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	in := flink.Job{UID: "u", Name: "n", Labels: map[string]string{"a": "b"}, Spec: sampleOrder().Spec, CreatedAt: at}
	p := JobToProto(in, "12", time.Time{}, nil)
	got, expect := JobFromProto(p)
	if expect == nil || *expect != 0 {
		t.Errorf("expect = %v, want 0", expect)
	}
	want := flink.Job{Tenant: flink.DefaultTenant, Name: "n", Labels: in.Labels, Spec: in.Spec}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.GetMetadata().ClearGeneration()
	if _, expect = JobFromProto(p); expect != nil {
		t.Errorf("expect = %d, want none", *expect)
	}
	if got, _ := JobFromProto(nil); got.Tenant != flink.DefaultTenant {
		t.Errorf("no job: %+v", got)
	}
}

func TestOrderThatSaysMoreIsRefusedByName(t *testing.T) {
	body, err := OrderBytes(sampleOrder())
	if err != nil {
		t.Fatal(err)
	}
	top := protowire.AppendString(protowire.AppendTag(body, 99, protowire.BytesType), "new")

	inner := protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 1)
	spec := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), inner) // jar.77
	nested := protowire.AppendBytes(protowire.AppendTag(body, 7, protowire.BytesType), spec)

	other := sampleOrder()
	other.Spec.UpgradeMode = "sideways"
	word, err := OrderBytes(other)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := proto.Marshal(agentv1.Order_builder{
		Uid: "u", Requests: []*agentv1.Request{agentv1.Request_builder{Verb: "savepoint"}.Build()},
	}.Build())
	if err != nil {
		t.Fatal(err)
	}

	for name, tc := range map[string]struct {
		body []byte
		says string
	}{
		"field":        {top, "order field 99"},
		"nested field": {nested, "order.spec.jar field 77"},
		"word":         {word, `spec.upgradeMode "sideways"`},
		"request":      {requests, `"savepoint"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OrderFromBytes(tc.body)
			if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want ErrUnknown naming %s", err, tc.says)
			}
		})
	}
	if err := CheckSchema(2); !errors.Is(err, ErrUnknown) {
		t.Errorf("schema 2: %v", err)
	}
	if err := CheckSchema(OrderSchema); err != nil {
		t.Errorf("own schema: %v", err)
	}
	if _, err := OrderFromBytes([]byte{0xff}); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("damaged body: %v, want an error of its own", err)
	}
}

func TestOrderBytesRefusesTextThatIsNotUTF8(t *testing.T) {
	o := sampleOrder()
	o.Spec.Jar.Args = []string{"\xff"}
	if _, err := OrderBytes(o); err == nil {
		t.Error("invalid UTF-8 was encoded")
	}
}

func FuzzOrderFromBytes(f *testing.F) {
	body, err := OrderBytes(sampleOrder())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{})
	f.Add([]byte{0x3a, 0x02, 0x2a, 0x00})
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := OrderFromBytes(body)
		if err != nil {
			return
		}
		again, err := OrderBytes(o)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := OrderFromBytes(again)
		if err != nil || !cmp.Equal(o, back) {
			t.Fatalf("not the same order after a second reading (%v):\n%s", err, cmp.Diff(o, back))
		}
	})
}
