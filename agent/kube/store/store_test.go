package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

func TestAnAPIServerIsABackend(t *testing.T) {
	recordstest.Run(t, func(t *testing.T) func(*testing.T) *records.Store {
		p := newPlace(t)

		return func(*testing.T) *records.Store { return p.open().Store }
	})
}

func TestTheChartInstallsThisCRD(t *testing.T) {
	chart, err := os.ReadFile(filepath.Join("..", "..", "..", "charts", "waterwheel-agent", "files", "flinkjob-crd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(chart) != string(CRD()) {
		t.Error("charts/waterwheel-agent/files/flinkjob-crd.yaml is not agent/kube/store/flinkjob-crd.yaml: copy it")
	}
}

// record takes a frame that must be recorded.
func record(t *testing.T, s *Store, f feed.Frame) {
	t.Helper()
	if _, err := s.Record(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func memory(run int32, checkpoint int64) plan.Memory {
	r := flink.Run{UID: "a", Term: 1, Run: run}
	snap := flink.Snapshot{Path: fmt.Sprint("s3://b/chk-", checkpoint), Kind: flink.KindCheckpoint, ID: checkpoint, Run: r}

	return plan.Memory{
		Term: 1, LastRun: run, HadSnapshot: true, Snapshot: snap,
		Current: &plan.RunRecord{Run: r, Phase: plan.PhaseProven, Checkpoint: snap},
	}
}

func save(t *testing.T, s *Store, uid string, m plan.Memory) {
	t.Helper()
	if err := s.SaveMemory(t.Context(), uid, m); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *Store, uid string) records.Record {
	t.Helper()
	rec, ok, err := s.Load(t.Context(), uid)
	if err != nil || !ok {
		t.Fatalf("load %s: %v %v", uid, ok, err)
	}

	return rec
}

func TestWhatPeopleSay(t *testing.T) {
	p := newPlace(t)
	s, woken, stop := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	if s.Holds("a") != nil {
		t.Fatal("held by nobody")
	}
	p.patch("a", `{"metadata":{"annotations":{"waterwheel.dev/hold":"incident 7","note":"mine"}}}`)
	if uid := <-woken; uid != "a" {
		t.Fatalf("woken: %s", uid)
	}
	h := s.Holds("a")
	if h == nil || h.Reason != "incident 7" || h.By != "kubectl-edit" || time.Since(h.Since) > time.Minute {
		t.Errorf("hold = %+v", h)
	}
	// The agent's own writes meet a newer version of the object, and keep what people wrote.
	save(t, s, "a", memory(1, 1))
	p.patch("a", `{"metadata":{"annotations":{"note":"mine, later"}}}`)
	record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 2, 2, 1)))
	save(t, s, "a", memory(2, 2))
	o := p.object("a")
	if o.Annotations["note"] != "mine, later" || o.Annotations[HoldAnnotation] != "incident 7" || o.Spec.InForce.Generation != 2 {
		t.Errorf("object = %+v", o)
	}
	if h := s.Holds("a"); h == nil || h.By != "kubectl-edit" {
		t.Errorf("hold after the agent's own writes = %+v", h)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s, woken, _ = p.run()
	if h := s.Holds("a"); h == nil || h.Reason != "incident 7" || h.By != "kubectl-edit" {
		t.Errorf("hold after a restart = %+v", h)
	}
	p.patch("a", `{"metadata":{"annotations":{"waterwheel.dev/hold":null}}}`)
	<-woken
	if h := s.Holds("a"); h != nil {
		t.Errorf("hold after it was lifted = %+v", h)
	}
}

func TestWhatIsChangedByHandIsPutBack(t *testing.T) {
	p := newPlace(t)
	s, _, _ := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Row(flink.Order{UID: "a", Tenant: "team-a", Name: "clicks", Generation: 1, Term: 1, Spec: flink.Spec{State: flink.StateRunning, Parallelism: 2}}, 1, 1)))
	save(t, s, "a", memory(1, 1))
	s.PutStatus("a", flink.Status{State: flink.Running, Situation: "InSync", Message: "Running since 12:00", Term: 1, Run: 1})
	await(t, "the status is shown", func() bool { return p.object("a").Status.Situation == "InSync" })
	before := p.object("a")
	if before.Spec.Job != "team-a/clicks" || before.Spec.Desired != "running" || before.Spec.Order["Parallelism"] != float64(2) || before.Status.TermRun != "1/1" {
		t.Errorf("object = %+v", before)
	}
	for name, c := range map[string]struct {
		change string
		sub    []string
	}{
		"the order":       {`{"spec":{"inForce":{"deleted":true},"desired":"deleted"}}`, nil},
		"what is shown":   {`{"spec":{"order":{"Parallelism":9}}}`, nil},
		"the whole order": {`{"spec":null}`, nil},
		"the situation":   {`{"status":{"situation":"AllGood"}}`, []string{"status"}},
		"the memory":      {`{"status":{"agent":{"memory":"{}"}}}`, []string{"status"}},
		"the place":       {`{"spec":{"site":"00000000000000000000000000000000"}}`, nil},
	} {
		if name == "the whole order" {
			c.change = `{"spec":{"uid":null,"site":null,"body":null,"received":null,"inForce":null,"checksum":null,"writer":null}}`
		}
		p.patch("a", c.change, c.sub...)
		await(t, name+" is put back", func() bool {
			now := p.object("a")

			return now.Spec.same(before.Spec) && now.Status.same(before.Status) && now.Spec.whole() && now.Status.Agent.whole()
		})
	}
	if a := load(t, s, "a"); a.Order.Deleted || a.Memory.LastRun != 1 {
		t.Errorf("a = %+v", a)
	}
}

func TestAnObjectDeletedByHandIsWrittenAgainWithItsHold(t *testing.T) {
	p := newPlace(t)
	s, woken, stop := p.run()
	record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))
	save(t, s, "a", memory(3, 1))
	p.patch("a", `{"metadata":{"annotations":{"waterwheel.dev/hold":"wait"}}}`)
	<-woken
	before := p.object("a")
	p.delete("a")
	await(t, "the object is written again", func() bool {
		u, err := p.objects.Get(t.Context(), "a", metav1.GetOptions{})

		return err == nil && u.GetUID() != before.ObjectMeta.UID && p.object("a").Status.Agent.Memory == before.Status.Agent.Memory
	})
	if o := p.object("a"); o.Annotations[HoldAnnotation] != "wait" || !o.Spec.same(before.Spec) {
		t.Errorf("object = %+v", o)
	}
	if h := s.Holds("a"); h == nil || h.Reason != "wait" {
		t.Errorf("hold = %+v", h)
	}
	p.delete("a")
	save(t, s, "a", memory(4, 1)) // whoever comes first, the follower or this
	record(t, s, recordstest.Frame(3, recordstest.Order("b", 1, 3, 2, 1)))
	await(t, "the object is there with the newest memory", func() bool {
		_, err := p.objects.Get(t.Context(), "a", metav1.GetOptions{})

		return err == nil && strings.Contains(p.object("a").Status.Agent.Memory, `"LastRun":4`)
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// With no agent there, the record is lost: what is not on record is known to be missing, and asked of the hub.
	p.delete("a")
	s = p.open()
	if _, ok, err := s.Load(t.Context(), "a"); ok || err != nil || s.Standing().Count != 1 || s.Standing().Cursor.Revision != 3 {
		t.Errorf("standing = %+v, %v %v", s.Standing(), ok, err)
	}
}

func TestAStaleTwinIsFenced(t *testing.T) {
	p := newPlace(t)
	twin := p.open()
	record(t, twin, recordstest.Frame(2, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))
	save(t, twin, "a", memory(1, 1))
	s, woken, _ := p.run()
	// The twin wrote before it could know, after this one had read: taken up, not undone.
	save(t, twin, "a", memory(2, 1))
	if uid := <-woken; uid != "a" || load(t, s, "a").Memory.LastRun != 2 {
		t.Errorf("woken %s, memory %+v", uid, load(t, s, "a").Memory)
	}
	save(t, s, "a", memory(3, 1))
	// From the first write that meets one of the later agent's, the twin writes nothing more, to no object.
	for _, write := range []func() error{
		func() error { return twin.SaveMemory(t.Context(), "a", memory(9, 1)) },
		func() error {
			_, err := twin.Record(t.Context(), recordstest.Frame(9, recordstest.Order("b", 1, 9, 9, 1)))

			return err
		},
		func() error {
			_, err := twin.PutReport(t.Context(), "b", flink.Status{State: flink.Failed, Term: 1})

			return err
		},
	} {
		if err := write(); !errors.Is(err, ErrFenced) {
			t.Errorf("err = %v, want fenced", err)
		}
	}
	if err := twin.Run(t.Context(), func(string) {}); !errors.Is(err, ErrFenced) {
		t.Errorf("the twin goes on: %v", err)
	}
	if a := load(t, s, "a"); a.Memory.LastRun != 3 || s.Standing().Cursor.Revision != 2 {
		t.Errorf("a = %+v, standing %+v", a.Memory, s.Standing())
	}
}

func TestATwinThatOnlyWatchesEndsToo(t *testing.T) {
	p := newPlace(t)
	first := p.open()
	record(t, first, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	twin, done := p.open(), make(chan error, 1)
	go func() { done <- twin.Run(t.Context(), func(string) {}) }()
	save(t, p.open(), "a", memory(1, 1))
	select {
	case err := <-done:
		if !errors.Is(err, ErrFenced) {
			t.Errorf("err = %v, want fenced", err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// copied has everything of one place stand in another, as a person's backup tool does it.
func copied(t *testing.T, from *place, withMark bool) *place {
	t.Helper()
	to := newPlace(t)
	l, err := from.objects.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range l.Items {
		u.SetNamespace(to.name)
		u.SetUID("")
		u.SetResourceVersion("")
		made, err := to.objects.Create(t.Context(), &u, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		u.SetResourceVersion(made.GetResourceVersion())
		u.SetUID(made.GetUID())
		if _, err := to.objects.UpdateStatus(t.Context(), &u, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if !withMark {
		return to
	}
	c, err := from.client.CoreV1().ConfigMaps(from.name).Get(t.Context(), "waterwheel-agent-records", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.ObjectMeta = metav1.ObjectMeta{Name: c.Name}
	if _, err := to.client.CoreV1().ConfigMaps(to.name).Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	return to
}

func TestAnObjectOfAnotherPlaceIsNotActedUpon(t *testing.T) {
	from := newPlace(t)
	old := from.open()
	record(t, old, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, old, "a", memory(7, 1))
	for _, withMark := range []bool{true, false} {
		p := copied(t, from, withMark)
		s, _, _ := p.run()
		if uids, err := s.Jobs(t.Context()); err != nil || len(uids) != 0 || s.Standing().Count != 0 || !s.Standing().Cursor.IsZero() {
			t.Errorf("jobs = %v %v, standing = %+v", uids, err, s.Standing())
		}
		if s.Standing().SiteUID == old.Standing().SiteUID {
			t.Error("two places have one name")
		}
		o := p.object("a")
		if c := o.Status.Conditions; len(c) != 1 || c[0].Type != "Rejected" || c[0].Reason != reasonSite || o.Spec.Site != old.Standing().SiteUID {
			t.Errorf("object = %+v", o)
		}
		if o.Status.Situation != situationRejected || !strings.Contains(o.Status.Message, "does not act on it") {
			t.Errorf("a list of objects shows situation %q, message %q of it", o.Status.Situation, o.Status.Message)
		}
		record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 2, 2, 1)))
		if a := load(t, s, "a"); a.Memory.LastRun != 0 || a.Order.Generation != 2 {
			t.Errorf("a = %+v: another place's memory was believed", a)
		}
		if o := p.object("a"); o.Spec.Site != s.Standing().SiteUID || o.Status.Agent.Memory != "" || len(o.Status.Conditions) != 0 || o.Status.Situation != "" || o.Status.Message != "" {
			t.Errorf("object = %+v", o)
		}
	}
}

func TestALostPlaceInTheStreamCostsNoJob(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(3, 1))
	site := s.Standing().SiteUID
	lose := func() {
		t.Helper()
		if err := p.client.CoreV1().ConfigMaps(p.name).Delete(t.Context(), "waterwheel-agent-records", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	s = p.open()
	if a := load(t, s, "a"); a.Memory.LastRun != 3 || s.Standing().SiteUID != site || !s.Standing().Cursor.IsZero() {
		t.Errorf("a = %+v, standing = %+v", a, s.Standing())
	}
	record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 2, 2, 1)))
	lose()
	if err := s.b.watchMark(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := p.open().Standing(); again.SiteUID != site || again.Cursor.Revision != 2 {
		t.Errorf("standing = %+v: it was not written again", again)
	}
}

func TestWhatWasChangedWhileNoAgentRanIsNotBelieved(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	record(t, s, recordstest.Frame(3, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1), recordstest.Order("c", 1, 3, 1, 1)))
	save(t, s, "a", memory(1, 1))
	save(t, s, "b", memory(1, 1))
	p.patch("a", `{"spec":{"inForce":{"deleted":true}}}`)
	p.patch("b", `{"status":{"agent":{"memory":"{}"}}}`, "status")
	s, _, _ = p.run()
	if uids, err := s.Jobs(t.Context()); err != nil || !slices.Equal(uids, []string{"b", "c"}) {
		t.Errorf("jobs = %v %v: a changed order is not acted upon", uids, err)
	}
	if b := load(t, s, "b"); b.Memory.LastRun != 0 || b.Order.Generation != 1 {
		t.Errorf("b = %+v", b)
	}
	if s.Standing().Count != 2 {
		t.Errorf("standing = %+v: the hub is not told that a row is missing", s.Standing())
	}
	record(t, s, recordstest.Frame(3, recordstest.Order("a", 1, 1, 1, 1)))
	if a := load(t, s, "a"); a.Order.Deleted || a.Memory.LastRun != 1 {
		t.Errorf("a = %+v, want the hub's order and the memory that was whole", a)
	}
	if o := p.object("a"); len(o.Status.Conditions) != 0 || !o.Spec.whole() {
		t.Errorf("object = %+v", o)
	}
}

func TestNewerCheckpointsAndAgesAreWrittenSeldom(t *testing.T) {
	p := newPlace(t)
	p.o.Lazy = time.Hour
	s, _, stop := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	status := func(checkpoint int64, words string) {
		s.PutStatus("a", flink.Status{
			State: flink.Running, Situation: "InSync", Message: words, Term: 1, Run: 1, Snapshot: memory(1, checkpoint).Snapshot,
		})
	}
	status(1, "Running for 1m3s, from checkpoint 1")
	await(t, "the status is shown", func() bool { return p.object("a").Status.Situation == "InSync" })
	await(t, "the agent knows that it is", func() bool { // it may be seen before its answer is read
		s.b.mu.Lock()
		defer s.b.mu.Unlock()

		return s.b.held["a"].last.Situation == "InSync" && len(s.b.due) == 0
	})
	before := p.calls.all.Load()
	rv := p.object("a").ResourceVersion
	for i := range int64(50) {
		save(t, s, "a", memory(1, 2+i))
		status(2+i, fmt.Sprintf("Running for %dm%ds, from checkpoint %d", i, i, 2+i))
		s.flush(t.Context())
	}
	if n := p.calls.all.Load() - before; n != 0 || p.object("a").ResourceVersion != rv {
		t.Errorf("%d requests for nothing but newer checkpoints", n)
	}
	if a := load(t, s, "a"); a.Memory.Snapshot.ID != 51 {
		t.Errorf("a = %+v: the newest is not served", a.Memory)
	}
	m := memory(1, 52)
	m.Failures = 1
	save(t, s, "a", m)
	if o := p.object("a"); !strings.Contains(o.Status.Agent.Memory, "chk-52") || o.Status.Snapshot.Path != "s3://b/chk-51" {
		t.Errorf("object = %+v: anything else takes the newest along", o.Status)
	}
	m.Snapshot.ID, m.Current.Checkpoint.ID = 60, 60
	save(t, s, "a", m)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if a := load(t, p.open(), "a"); a.Memory.Snapshot.ID != 60 {
		t.Errorf("after a clean end: %+v", a.Memory.Snapshot)
	}
}

func TestANotedMemoryIsServedAtOnceAndGoesOnRecordWithTheNext(t *testing.T) {
	p := newPlace(t)
	p.o.Lazy = time.Hour
	s := p.open()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	before := p.calls.all.Load()
	m := memory(1, 1)
	m.Current.Attempts = 3
	if err := s.NoteMemory(t.Context(), "a", m); err != nil {
		t.Fatal(err)
	}
	if n := p.calls.all.Load() - before; n != 0 || load(t, s, "a").Memory.Current.Attempts != 3 {
		t.Errorf("%d requests, memory %+v", n, load(t, s, "a").Memory.Current)
	}
	m.Failures = 1
	save(t, s, "a", m)
	if n := p.calls.all.Load() - before; n != 1 {
		t.Errorf("%d requests for what was noted and what was saved after it, want one", n)
	}
	if a := load(t, p.open(), "a"); a.Memory.Failures != 1 || a.Memory.Current.Attempts != 3 {
		t.Errorf("on record: %+v", a.Memory)
	}
	if err := s.NoteMemory(t.Context(), "unknown", m); !errors.Is(err, records.ErrUnknownJob) {
		t.Errorf("a job that is not on record: %v", err)
	}
}

func TestLazyWritesComeInTheEnd(t *testing.T) {
	p := newPlace(t)
	p.o.Lazy = 100 * time.Millisecond
	s, _, _ := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	save(t, s, "a", memory(1, 2))
	s.PutStatus("a", flink.Status{State: flink.Running, Snapshot: memory(1, 2).Snapshot})
	await(t, "the newest checkpoint is on record and shown", func() bool {
		o := p.object("a")

		return strings.Contains(o.Status.Agent.Memory, "chk-2") && o.Status.Snapshot != nil && o.Status.Snapshot.Path == "s3://b/chk-2"
	})
	before := p.calls.all.Load()
	s.PutStatus("a", flink.Status{State: flink.Running, Snapshot: memory(1, 2).Snapshot})
	s.flush(t.Context())
	if n := p.calls.all.Load() - before; n != 0 {
		t.Errorf("%d requests although nothing differs", n)
	}
}

func TestTheHubColumnSaysWhetherADecisionIsConfirmed(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	bad := recordstest.Order("a", 1, 2, 2, 1)
	bad.Hash = []byte("x")
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	record(t, s, recordstest.Frame(2, bad))
	if _, err := s.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1}); err != nil {
		t.Fatal(err)
	}
	o := p.object("a")
	if o.Status.Hub != hubUnsent || len(o.Status.Conditions) != 1 || o.Status.Conditions[0].Reason != "Corrupt" || o.Spec.InForce.Generation != 1 || o.Spec.Received.Generation != 2 {
		t.Errorf("object = %+v", o)
	}
	if _, err := s.Settle(t.Context(), s.Reports()); err != nil {
		t.Fatal(err)
	}
	if o := p.object("a"); o.Status.Hub != hubAcked {
		t.Errorf("hub = %s", o.Status.Hub)
	}
}

func TestTheLargestOrderFits(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	spec := flink.Spec{State: flink.StateRunning, Jar: flink.Jar{Args: []string{strings.Repeat(`"x\`, 85<<10/3*3/2)}}}
	o := flink.Order{UID: "a", Tenant: "t", Name: "big", Generation: 1, Term: 1, Spec: spec}
	row := recordstest.Row(o, 1, 1)
	if len(row.Body) < feed.MaxSpec*3/4 || len(row.Body) > feed.MaxSpec {
		t.Fatalf("the body has %d bytes", len(row.Body))
	}
	record(t, s, recordstest.Frame(1, row))
	m := memory(1, 1)
	m.Current.Spec = spec
	m.Next, m.Previous = new(*m.Current), new(*m.Current)
	save(t, s, "a", m)
	if a := load(t, p.open(), "a"); a.Order.Spec.Jar.Args[0] != spec.Jar.Args[0] || a.Memory.Previous.Spec.Jar.Args[0] != spec.Jar.Args[0] {
		t.Error("the order or the memory is not what it was")
	}
	if o := p.object("a"); o.Spec.Order != nil || o.Spec.Job != "t/big" {
		t.Error("a very large order is shown whole")
	}
}

func TestAnAPIServerWithoutTheCRDIsNamedAsSuch(t *testing.T) {
	p := newPlace(t)
	uninstall(t)
	if _, err := Open(t.Context(), p.o); !errors.Is(err, ErrNoCRD) || !strings.Contains(err.Error(), "chart waterwheel-agent") {
		t.Errorf("err = %v", err)
	}
}

// Somebody deletes the CustomResourceDefinition, and with it all objects, while the agent runs: nothing is forgotten, what
// cannot be put on record is an error, and all of it stands there again when the definition does.
func TestTheCRDIsDeletedAndComesBack(t *testing.T) {
	p := newPlace(t)
	s, _, _ := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	save(t, s, "b", memory(3, 7))
	uninstall(t)
	if err := s.SaveMemory(t.Context(), "a", memory(2, 2)); !errors.Is(err, ErrNoCRD) {
		t.Errorf("a memory where there are no records: %v, want ErrNoCRD", err)
	}
	install(t)
	await(t, "records are served again", func() bool { _, err := s.Jobs(t.Context()); return err == nil })
	save(t, s, "a", memory(2, 2))
	for uid, run := range map[string]int32{"a": 2, "b": 3} {
		await(t, "FlinkJob is written again", func() bool {
			u, err := p.objects.Get(t.Context(), uid, metav1.GetOptions{})
			if err != nil {
				return false
			}
			o, err := read(u)

			return err == nil && o.Spec.whole() && o.Status.Agent.whole() && o.Status.Agent.Memory != ""
		})
		if rec := load(t, s, uid); rec.Memory.LastRun != run {
			t.Errorf("memory of %s = %+v", uid, rec.Memory)
		}
	}
	for uid, run := range map[string]int32{"a": 2, "b": 3} {
		if rec := load(t, p.open(), uid); rec.Memory.LastRun != run {
			t.Errorf("memory of %s after a restart = %+v", uid, rec.Memory)
		}
	}
}

func TestAListThatFailsIsNotEmpty(t *testing.T) {
	p := newPlace(t)
	s, _, _ := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	p.calls.die(-1, false)
	if err := s.SaveMemory(t.Context(), "a", memory(1, 1)); err == nil {
		t.Fatal("a write that did not happen was no error")
	}
	if uids, err := s.Jobs(t.Context()); err == nil {
		t.Errorf("jobs = %v while the API server does not answer", uids)
	}
	if _, ok, err := s.Load(t.Context(), "a"); err == nil {
		t.Errorf("load: %v while the API server does not answer", ok)
	}
	p.calls.live()
	await(t, "records are served again", func() bool { _, err := s.Jobs(t.Context()); return err == nil })
	save(t, s, "a", memory(1, 1))
}
