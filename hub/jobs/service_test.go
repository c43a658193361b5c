package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/jobs"
	"github.com/waterwheel-io/waterwheel/hub/store"
)

// world is a hub's store with a tenant and some clusters, and the service over it.
type world struct {
	*jobs.Service
	store *store.Store
}

func newWorld(t *testing.T) world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Init: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	_, err = s.Write(t.Context(), store.Audit{Who: "admin/test", Verb: "set up"}, func(txn *store.Txn) error {
		txn.PutTenant(store.Tenant{Name: "default"})
		txn.PutCluster(store.Cluster{UID: "c1", Name: "eu-1", State: store.ClusterJoined})
		txn.PutCluster(store.Cluster{UID: "c2", Name: "us-west", State: store.ClusterInvited})
		txn.PutCluster(store.Cluster{UID: "c3", Name: "old-1", State: store.ClusterRemoved})
		txn.PutCluster(store.Cluster{UID: "c4", Name: "rogue", State: store.ClusterJoined, Banned: true})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	encode := func(o flink.Order) ([]byte, error) { return json.Marshal(o) }
	return world{Service: jobs.New(s, encode, nil), store: s}
}

func wanted(name string) flink.Job {
	return flink.Job{Tenant: "default", Name: name, Labels: map[string]string{"team": "web"}, Spec: flink.Spec{
		Cluster: "eu-1", FlinkVersion: "2.3", Parallelism: 2, UpgradeMode: flink.UpgradeSavepoint,
		Jar:         flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main"},
		JobManager:  flink.Resources{CPU: "0.5", Memory: "1Gi"},
		TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "1", Memory: "1Gi"}, Slots: 2},
	}}
}

func (w world) apply(t *testing.T, want flink.Job, result jobs.Result) store.Job {
	t.Helper()
	j, got, err := w.Apply(t.Context(), "admin/ann", want, nil)
	if err != nil || got != result {
		t.Fatalf("apply %s: %s, %v; want %s", want.Name, got, err, result)
	}
	return j
}

// order is the job's order, decoded, which must be what follows from job and assignment.
func (w world) order(t *testing.T, uid string) (store.FeedRow, flink.Order) {
	t.Helper()
	v := w.store.View()
	j, _ := v.Job(uid)
	a, ok := v.Assignment(uid)
	row, found := v.Order(a.ClusterUID, uid)
	if !ok || !found {
		t.Fatalf("job %s has assignment=%v order=%v", uid, ok, found)
	}
	var o flink.Order
	if err := json.Unmarshal(row.Body, &o); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(flink.OrderFor(j.Job, a))
	if err != nil || !bytes.Equal(row.Body, want) || row.Version.Revision != j.Revision || row.Term != a.Term ||
		row.Generation != j.Generation || row.Deleted != j.Deleting || row.Policy != j.Policy {
		t.Errorf("order %+v %s\nis not what follows from %s", row, row.Body, want)
	}
	return row, o
}

func TestApplyCreatesJobAssignmentAndOrderInOneWrite(t *testing.T) {
	w := newWorld(t)
	before := w.store.View().Head()
	j := w.apply(t, wanted("clicks"), jobs.Created)
	if j.Generation != 1 || len(j.UID) != 32 || j.Revision != before+1 || w.store.View().Head() != before+1 {
		t.Errorf("created %+v at head %d", j, w.store.View().Head())
	}
	if j.Spec.State != flink.StateRunning {
		t.Errorf("defaults are not filled in: state %q", j.Spec.State)
	}
	a, _ := w.store.View().Assignment(j.UID)
	if a.ClusterUID != "c1" || a.Term != 1 {
		t.Errorf("assignment %+v", a)
	}
	w.order(t, j.UID)
	tail, err := w.store.AuditTail(1)
	if err != nil || tail[0].Who != "admin/ann" || tail[0].Verb != "job.apply" || tail[0].Object != "default/clicks" || !strings.Contains(tail[0].Detail, "created") {
		t.Errorf("audit %+v, %v", tail, err)
	}
	if other := w.apply(t, wanted("orders"), jobs.Created); other.UID == j.UID {
		t.Error("two jobs have one uid")
	}
}

func TestApplyingTheSameIsNoChangeWhateverIsExpected(t *testing.T) {
	w := newWorld(t)
	j := w.apply(t, wanted("clicks"), jobs.Created)
	head := w.store.View().Head()
	for _, expect := range []*int32{nil, new(int32(0)), new(int32(1)), new(int32(99))} {
		for _, spec := range []flink.Spec{wanted("clicks").Spec, j.Spec} { // as first given, and as get shows it
			want := wanted("clicks")
			want.Spec = spec
			got, result, err := w.Apply(t.Context(), "admin/ann", want, expect)
			if err != nil || result != jobs.Unchanged || got.Generation != 1 || got.Revision != j.Revision {
				t.Errorf("expecting %v: %s %+v, %v", expect, result, got, err)
			}
		}
	}
	if w.store.View().Head() != head {
		t.Error("it took a revision")
	}
}

func TestOnlySpecChangesCountGenerations(t *testing.T) {
	w := newWorld(t)
	first := w.apply(t, wanted("clicks"), jobs.Created)
	want := wanted("clicks")
	want.Labels = map[string]string{"team": "core"}
	labelled := w.apply(t, want, jobs.Configured)
	if labelled.Generation != 1 || labelled.Revision <= first.Revision || labelled.Labels["team"] != "core" {
		t.Errorf("after a change of labels: %+v", labelled)
	}
	if _, o := w.order(t, first.UID); o.Labels["team"] != "core" {
		t.Errorf("the order has labels %v", o.Labels)
	}
	want.Spec.Parallelism = 4
	want.Spec.StartFrom.Snapshot = "file:///data/savepoints/savepoint-1"
	scaled := w.apply(t, want, jobs.Configured)
	if _, o := w.order(t, first.UID); scaled.Generation != 2 || scaled.UID != first.UID || o.Spec.Parallelism != 4 || o.Term != 1 {
		t.Errorf("after a change of spec: %+v, order %+v", scaled, o)
	}
	if specs, err := w.store.SpecHistory(first.UID); err != nil || len(specs) != 2 || specs[0].Spec.Parallelism != 2 {
		t.Errorf("history %+v, %v", specs, err)
	}
}

func TestAnUnexpectedGenerationIsAConflictThatNamesBoth(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.Apply(t.Context(), "a", wanted("clicks"), new(int32(3)))
	check := func(what string, err error, want, have string) {
		t.Helper()
		c, ok := errors.AsType[*jobs.Conflict](err)
		if !ok || c.Field != "metadata.generation" || !strings.HasPrefix(c.Want, want) || !strings.HasPrefix(c.Have, have) || c.Remedy == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("expecting 3 of none", err, "3", "0")
	if _, result, err := w.Apply(t.Context(), "a", wanted("clicks"), new(int32(0))); err != nil || result != jobs.Created {
		t.Fatalf("must not exist, and does not: %s, %v", result, err)
	}
	want := wanted("clicks")
	want.Spec.Parallelism = 4
	_, _, err = w.Apply(t.Context(), "a", want, new(int32(0)))
	check("must not exist, and does", err, "0", "1")
	_, _, err = w.Apply(t.Context(), "a", want, new(int32(7)))
	check("expecting 7 of 1", err, "7", "1")
	if _, result, err := w.Apply(t.Context(), "a", want, new(int32(1))); err != nil || result != jobs.Configured {
		t.Errorf("expecting 1 of 1: %s, %v", result, err)
	}
	_, err = w.Delete(t.Context(), "a", "default", "clicks", "", new(int32(1)))
	check("delete expecting 1 of 2", err, "1", "2")
	if j, _ := w.store.View().JobByName("default", "clicks"); j.Deleting || j.Generation != 2 {
		t.Errorf("a refused change changed %+v", j)
	}
}

func TestAWrongPlaceIsRefusedWithWhatToDo(t *testing.T) {
	w := newWorld(t)
	w.apply(t, wanted("placed"), jobs.Created)
	head := w.store.View().Head()
	for name, c := range map[string]struct {
		change func(*flink.Job)
		field  string
		says   string
	}{
		"near miss":       {func(j *flink.Job) { j.Spec.Cluster = "eu-2" }, "spec.cluster", `did you mean "eu-1"?`},
		"no such":         {func(j *flink.Job) { j.Spec.Cluster = "somewhere-else" }, "spec.cluster", "no such cluster"},
		"removed":         {func(j *flink.Job) { j.Spec.Cluster = "old-1" }, "spec.cluster", "was removed"},
		"banned":          {func(j *flink.Job) { j.Spec.Cluster = "rogue" }, "spec.cluster", "banned"},
		"required":        {func(j *flink.Job) { j.Spec.Cluster = "" }, "spec.cluster", ""},
		"tenant":          {func(j *flink.Job) { j.Tenant = "defualt" }, "metadata.tenant", `did you mean "default"?`},
		"moved":           {func(j *flink.Job) { j.Name, j.Spec.Cluster = "placed", "us-west" }, "spec.cluster", `cannot be moved yet: keep "eu-1"`},
		"also the rest":   {func(j *flink.Job) { j.Spec.Cluster, j.Spec.Parallelism = "eu-2", -1 }, "spec.parallelism", ""},
		"and both faults": {func(j *flink.Job) { j.Spec.Cluster, j.Spec.Parallelism = "eu-2", -1 }, "spec.cluster", "eu-1"},
	} {
		t.Run(name, func(t *testing.T) {
			want := wanted("clicks")
			c.change(&want)
			_, _, err := w.Apply(t.Context(), "a", want, nil)
			invalid, ok := errors.AsType[*jobs.Invalid](err)
			if !ok {
				t.Fatalf("%v, want Invalid", err)
			}
			found := false
			for _, f := range invalid.Faults {
				found = found || f.Field == c.field && strings.Contains(f.Remedy, c.says)
			}
			if !found || !strings.Contains(err.Error(), c.field) {
				t.Errorf("%v does not say %q about %s", err, c.says, c.field)
			}
		})
	}
	if w.store.View().Head() != head {
		t.Error("a refused change took a revision")
	}
}

func TestAJobOfARemovedClusterCannotBeChangedThroughItsSuccessor(t *testing.T) {
	w := newWorld(t)
	w.apply(t, wanted("clicks"), jobs.Created)
	_, err := w.store.Write(t.Context(), store.Audit{Who: "a", Verb: "cluster.remove"}, func(txn *store.Txn) error {
		txn.PutCluster(store.Cluster{UID: "c1", Name: "eu-1", State: store.ClusterRemoved, Banned: true})
		txn.PutCluster(store.Cluster{UID: "c9", Name: "eu-1", State: store.ClusterJoined})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := wanted("clicks")
	want.Spec.Parallelism = 4
	if _, _, err := w.Apply(t.Context(), "a", want, nil); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("apply: %v", err)
	}
	j, err := w.Delete(t.Context(), "a", "default", "clicks", "", nil)
	if err != nil || !j.Deleting {
		t.Errorf("delete: %+v, %v", j, err)
	}
	if _, ok := w.store.View().JobByName("default", "clicks"); ok {
		t.Error("the job of a removed cluster waits for an agent that will never come")
	}
	w.apply(t, want, jobs.Created)
}

func TestDeleteLeavesATombstoneUntilGone(t *testing.T) {
	w := newWorld(t)
	j := w.apply(t, wanted("clicks"), jobs.Created)
	deleted, err := w.Delete(t.Context(), "a", "default", "clicks", "", nil)
	if err != nil || !deleted.Deleting || deleted.Policy != flink.DeleteSavepoint || deleted.DeletedAt.IsZero() || deleted.Generation != 1 {
		t.Fatalf("deleted %+v, %v", deleted, err)
	}
	if row, o := w.order(t, j.UID); !row.Deleted || !o.Deleted || o.Policy != flink.DeleteSavepoint {
		t.Errorf("tombstone %+v", row)
	}
	if again, err := w.Delete(t.Context(), "a", "default", "clicks", "", nil); err != nil || again.Revision != deleted.Revision {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	other, err := w.Delete(t.Context(), "a", "default", "clicks", flink.DeleteCancel, nil)
	if err != nil || other.Policy != flink.DeleteCancel || !other.DeletedAt.Equal(deleted.DeletedAt) || other.Revision <= deleted.Revision {
		t.Errorf("another policy: %+v, %v", other, err)
	}
	if again, err := w.Delete(t.Context(), "a", "default", "clicks", "", nil); err != nil || again.Policy != flink.DeleteCancel {
		t.Errorf("no policy takes the one that stands back: %+v, %v", again, err)
	}
	w.order(t, j.UID)
	for what, err := range map[string]error{
		"apply the same": func() error { _, _, err := w.Apply(t.Context(), "a", wanted("clicks"), nil); return err }(),
		"restart":        func() error { _, err := w.Restart(t.Context(), "a", "default", "clicks", ""); return err }(),
	} {
		if _, ok := errors.AsType[*jobs.Conflict](err); !ok || !strings.Contains(err.Error(), "is being deleted; wait") {
			t.Errorf("%s while deleting: %v", what, err)
		}
	}
	for _, wrong := range []struct {
		cluster string
		term    int32
	}{{"c2", 1}, {"c1", 2}, {"c1", 0}} {
		if err := w.Gone(t.Context(), wrong.cluster, j.UID, wrong.term); !errors.Is(err, jobs.ErrNotDeleting) {
			t.Errorf("gone from %s, term %d: %v", wrong.cluster, wrong.term, err)
		}
	}
	if err := w.Gone(t.Context(), "c1", j.UID, 1); err != nil {
		t.Fatal(err)
	}
	v := w.store.View()
	_, job := v.Job(j.UID)
	_, assigned := v.Assignment(j.UID)
	_, ordered := v.Order("c1", j.UID)
	_, stub, err := w.store.Stub("c1", j.UID)
	if job || assigned || ordered || !stub || err != nil {
		t.Errorf("after gone: job=%v assignment=%v order=%v stub=%v %v", job, assigned, ordered, stub, err)
	}
	if err := w.Gone(t.Context(), "c1", j.UID, 1); err != nil {
		t.Errorf("gone said again: %v", err)
	}
	if again := w.apply(t, wanted("clicks"), jobs.Created); again.UID == j.UID || again.Generation != 1 {
		t.Errorf("the next of that name: %+v", again)
	}
}

func TestGoneOfAJobThatNobodyDeletedDropsNothing(t *testing.T) {
	w := newWorld(t)
	j := w.apply(t, wanted("clicks"), jobs.Created)
	if err := w.Gone(t.Context(), "c1", j.UID, 1); !errors.Is(err, jobs.ErrNotDeleting) {
		t.Errorf("gone: %v", err)
	}
	w.order(t, j.UID)
}

func TestDeletePolicies(t *testing.T) {
	w := newWorld(t)
	want := wanted("plain")
	want.Spec.UpgradeMode = flink.UpgradeStateless
	w.apply(t, want, jobs.Created)
	if j, err := w.Delete(t.Context(), "a", "default", "plain", "", nil); err != nil || j.Policy != flink.DeleteCancel {
		t.Errorf("a stateless job: %+v, %v", j, err)
	}
	_, err := w.Delete(t.Context(), "a", "default", "plain", "savepiont", nil)
	if invalid, ok := errors.AsType[*jobs.Invalid](err); !ok || !strings.Contains(invalid.Error(), `did you mean "savepoint"?`) {
		t.Errorf("a mistyped policy: %v", err)
	}
	if _, err := w.Delete(t.Context(), "a", "default", "unknown", "", nil); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("an unknown job: %v", err)
	}
	want = wanted("waiting")
	want.Spec.Cluster = "us-west"
	w.apply(t, want, jobs.Created)
	if _, err := w.Delete(t.Context(), "a", "default", "waiting", "", nil); err != nil {
		t.Error(err)
	}
	if _, ok := w.store.View().JobByName("default", "waiting"); ok {
		t.Error("a job whose cluster never joined was not dropped at once")
	}
}

func TestRestartIsToldToTheClusterAndIsNoGeneration(t *testing.T) {
	w := newWorld(t)
	j := w.apply(t, wanted("clicks"), jobs.Created)
	for n := int32(1); n <= 3; n++ {
		got, err := w.Restart(t.Context(), "a", "default", "clicks", "")
		if _, o := w.order(t, j.UID); err != nil || got.Restart != n || got.Generation != 1 || o.Restart != n {
			t.Errorf("restart %d: %+v, order %+v, %v", n, got, o, err)
		}
	}
	if _, err := w.Restart(t.Context(), "a", "default", "unknown", ""); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("an unknown job: %v", err)
	}
}

func TestASnapshotNamedAtARestartCountsForThatRestartAlone(t *testing.T) {
	w := newWorld(t)
	j := w.apply(t, wanted("clicks"), jobs.Created)
	for n, from := range []string{"s3://b/p/chk-7", "file:/s/chk-8", "/s/sp-1", ""} {
		got, err := w.Restart(t.Context(), "a", "default", "clicks", from)
		_, o := w.order(t, j.UID)
		if err != nil || got.RestartFrom != from || o.RestartFrom != from || int(o.Restart) != n+1 {
			t.Errorf("from %q: %+v, order %+v, %v", from, got, o, err)
		}
	}
	for from, say := range map[string]string{
		"chk-7": "absolute URI", "s4://b/p": "did you mean", "s3://user:geheim12@b/p": "keeps no secrets", "s3://b/../p": "plain path",
		"file:///": "absolute path", "/": "absolute path", "s3://b/p?sig=0123456789abcdef01": "keeps no secrets", "/a\nb": "one line",
		"/s/" + strings.Repeat("x", 5000): "at most",
	} {
		_, err := w.Restart(t.Context(), "a", "default", "clicks", from)
		if invalid, ok := errors.AsType[*jobs.Invalid](err); !ok || !strings.Contains(err.Error(), say) || invalid.Faults[0].Field != "from" {
			t.Errorf("from %q: %v, want words on %q", from, err, say)
		}
	}
	if _, o := w.order(t, j.UID); o.Restart != 4 {
		t.Errorf("what was refused counts: restart %d", o.Restart)
	}
}

func TestWhatCannotBeEncodedOrNamedChangesNothing(t *testing.T) {
	w := newWorld(t)
	head := w.store.View().Head()
	broken := jobs.New(w.store, func(flink.Order) ([]byte, error) { return nil, fmt.Errorf("broken") }, nil)
	if _, _, err := broken.Apply(t.Context(), "a", wanted("clicks"), nil); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("apply without an encoding: %v", err)
	}
	nameless := jobs.New(w.store, func(flink.Order) ([]byte, error) { return nil, nil }, strings.NewReader("short"))
	if _, _, err := nameless.Apply(t.Context(), "a", wanted("clicks"), nil); err == nil {
		t.Error("apply without randomness")
	}
	if w.store.View().Head() != head || len(w.store.View().Jobs("default", "", 0)) != 0 {
		t.Error("something changed")
	}
}
