package recordstest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// Place makes a place where nothing is on record yet, and returns how it is
// opened: the first time, and again by a later life of the agent. Orders are
// decoded by Decode.
type Place func(t *testing.T) (open func(t *testing.T) *records.Store)

// Run has a backend do all that every backend must do.
func Run(t *testing.T, p Place) {
	for name, test := range map[string]func(*testing.T, *life){
		"records survive a restart and the root follows the live rows":   survive,
		"only a newer version is taken":                                  onlyNewer,
		"a frame of an older writer is fenced":                           fenced,
		"a rejected row is on record and the last good one stays":        rejectedRow,
		"a gone job is forgotten only when the hub has it":               gone,
		"a later order keeps a job that was reported gone":               comesBack,
		"the same tombstone again does not bring a job back":             tombstoneAgain,
		"a later report is not settled by an earlier ack":                laterReport,
		"a frame that was not recorded leaves nothing to be seen":        notRecorded,
		"jobs are written beside each other and beside frames":           abreast,
		"two rows of one job in one frame are one record, the newest":    twice,
		"a report of a job without an order is kept until it is settled": reportAlone,
	} {
		t.Run(name, func(t *testing.T) { test(t, &life{t: t, open: p(t)}) })
	}
}

// life is the agent in one place, which can be started again.
type life struct {
	*records.Store

	t    *testing.T
	open func(*testing.T) *records.Store
}

// start begins the next life.
func (l *life) start() {
	l.t.Helper()
	if l.Store != nil {
		if err := l.Close(); err != nil {
			l.t.Fatal(err)
		}
	}
	l.Store = l.open(l.t)
}

func (l *life) record(f feed.Frame) feed.Recorded {
	l.t.Helper()
	got, err := l.Record(l.t.Context(), f)
	if err != nil {
		l.t.Fatal(err)
	}

	return got
}

func (l *life) load(uid string) records.Record {
	l.t.Helper()
	rec, ok, err := l.Load(l.t.Context(), uid)
	if err != nil || !ok {
		l.t.Fatalf("load %s: %v %v", uid, ok, err)
	}

	return rec
}

func (l *life) jobs() []string {
	l.t.Helper()
	uids, err := l.Jobs(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}

	return uids
}

func survive(t *testing.T, l *life) {
	l.start()
	got := l.record(Frame(3, Order("a", 1, 2, 1, 1), Order("b", 1, 3, 7, 2)))
	if !slices.Equal(got.Changed, []string{"a", "b"}) || got.Cursor != (feed.Cursor{EpochID: "e1", Revision: 3}) {
		t.Fatalf("recorded = %+v", got)
	}
	if err := l.SaveMemory(t.Context(), "b", plan.Memory{Term: 2, LastRun: 9, HadSnapshot: true}); err != nil {
		t.Fatal(err)
	}
	l.record(Frame(4, Tombstone("a", 1, 4, 1, flink.DeleteCancel)))
	if _, err := l.PutReport(t.Context(), "b", flink.Status{State: flink.Failed, Term: 2, Run: 9}); err != nil {
		t.Fatal(err)
	}
	before := l.Standing()
	l.start()
	if after := l.Standing(); after != before {
		t.Errorf("standing after a restart = %+v, want %+v", after, before)
	}
	var tree digest.Tree
	tree.Add(digest.Row{UID: "b", EpochNumber: 1, Revision: 3, Hash: Order("b", 1, 3, 7, 2).Hash})
	if before.Root != tree.Root() || before.Count != 1 || len(before.SiteUID) != 32 {
		t.Errorf("standing = %+v, want the root of b alone", before)
	}
	if b := l.load("b"); b.Order.Name != "n-b" || b.Order.Generation != 7 || b.Memory.LastRun != 9 || !b.Memory.HadSnapshot {
		t.Errorf("b = %+v", b)
	}
	if a := l.load("a"); !a.Order.Deleted || a.Order.Policy != flink.DeleteCancel || a.Order.Name != "n-a" {
		t.Errorf("a = %+v, want the last order under a tombstone", a)
	}
	if r := l.Reports(); len(r) != 1 || r[0].UID != "b" || r[0].Status.State != flink.Failed || r[0].Status.Run != 9 {
		t.Errorf("reports = %+v", r)
	}
}

func onlyNewer(t *testing.T, l *life) {
	l.start()
	l.record(Frame(5, Order("a", 2, 5, 3, 1)))
	for name, old := range map[string]feed.Row{
		"same version":                     Order("a", 2, 5, 4, 1),
		"older revision":                   Order("a", 2, 4, 4, 1),
		"older epoch with higher revision": Order("a", 1, 50, 4, 1),
		"tombstone of an older version":    Tombstone("a", 2, 4, 1, ""),
	} {
		if got := l.record(Frame(5, old)); len(got.Changed)+len(got.Nacks) != 0 {
			t.Errorf("%s: changed %v", name, got)
		}
	}
	if a := l.load("a"); a.Order.Generation != 3 || a.Order.Deleted {
		t.Errorf("order = %+v, want generation 3", a.Order)
	}
	if got := l.record(Frame(2, Order("a", 3, 1, 4, 1))); len(got.Changed) != 1 {
		t.Errorf("a later epoch with a smaller revision was not taken: %+v", got)
	}
	if c := l.Standing().Cursor; c.Revision != 5 {
		t.Errorf("cursor = %+v, went back", c)
	}
}

func fenced(t *testing.T, l *life) {
	l.start()
	l.record(feed.Frame{Epoch: feed.Epoch{Number: 7, ID: "e7"}})
	l.start()
	before := l.Standing()
	if before.MaxEpoch != 7 {
		t.Fatalf("standing = %+v, want epoch 7 seen", before)
	}
	if _, err := l.Record(t.Context(), Frame(9, Order("a", 1, 9, 1, 1))); !errors.Is(err, feed.ErrFenced) {
		t.Errorf("err = %v, want fenced", err)
	}
	if l.start(); l.Standing() != before {
		t.Error("a fenced frame left a trace")
	}
}

func rejectedRow(t *testing.T, l *life) {
	l.start()
	l.record(Frame(1, Order("a", 1, 1, 1, 1)))
	bad, good := Order("a", 1, 2, 2, 1), Order("b", 1, 3, 1, 1)
	bad.Body = []byte("{")
	sum := sha256.Sum256(bad.Body)
	bad.Hash = sum[:]
	got := l.record(Frame(3, bad, good))
	if len(got.Nacks) != 1 || got.Nacks[0].Code != feed.CodeInvalid || got.Nacks[0].Version != bad.Version || !slices.Equal(got.Changed, []string{"b"}) {
		t.Fatalf("recorded = %+v", got)
	}
	before := l.Standing()
	l.start()
	if again := l.Rejected(); !slices.Equal(again, got.Nacks) || l.Standing() != before {
		t.Errorf("rejected after a restart = %+v, want %+v", again, got.Nacks)
	}
	if a := l.load("a"); a.Order.Generation != 1 {
		t.Errorf("a = %+v, want generation 1", a)
	}
	if again := l.record(Frame(3, bad)); len(again.Nacks) != 0 {
		t.Error("the same version was nacked twice")
	}
	if got := l.record(Frame(4, Order("a", 1, 4, 3, 1))); !slices.Equal(got.Changed, []string{"a"}) || len(l.Rejected()) != 0 {
		t.Errorf("the mended row was not taken: %+v, left %+v", got, l.Rejected())
	}
}

func gone(t *testing.T, l *life) {
	l.start()
	l.record(Frame(2, Order("a", 1, 1, 1, 1), Order("live", 1, 2, 1, 1)))
	if err := l.SaveMemory(t.Context(), "a", plan.Memory{Term: 1, LastRun: 3}); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(t.Context(), "a"); err == nil {
		t.Fatal("a job without tombstone was removed")
	}
	l.record(Frame(4, Tombstone("a", 1, 3, 1, ""), Tombstone("never-seen", 1, 4, 1, "")))
	if uids := l.jobs(); !slices.Equal(uids, []string{"a", "live", "never-seen"}) {
		t.Fatalf("jobs = %v: the tombstone of an unknown job must be planned too", uids)
	}
	if err := errors.Join(l.Remove(t.Context(), "a"), l.Remove(t.Context(), "a")); err != nil {
		t.Fatal(err)
	}
	l.start()
	if slices.Contains(l.jobs(), "a") {
		t.Error("a job that is gone is still planned")
	}
	reports := l.Reports()
	if len(reports) != 1 || !reports[0].Status.Gone || reports[0].UID != "a" || reports[0].Status.Run != 3 {
		t.Fatalf("reports = %+v, want a gone", reports)
	}
	if got := l.record(Frame(4, Tombstone("a", 1, 3, 1, ""))); len(got.Changed) != 0 {
		t.Error("the record of a gone job was dropped before the hub had it")
	}
	forgotten, err := l.Settle(t.Context(), reports)
	if err != nil || !slices.Equal(forgotten, []string{"a"}) || len(l.Reports()) != 0 {
		t.Fatalf("settled: %v %v, left %v", forgotten, err, l.Reports())
	}
	l.start()
	if err := l.SaveMemory(t.Context(), "a", plan.Memory{}); !errors.Is(err, records.ErrUnknownJob) {
		t.Errorf("saving the memory of a forgotten job: %v", err)
	}
	if got := l.record(Frame(5, Tombstone("a", 1, 3, 1, ""))); !slices.Equal(got.Changed, []string{"a"}) {
		t.Errorf("a tombstone of a job that was forgotten is taken as of one never seen: %+v", got)
	}
}

func comesBack(t *testing.T, l *life) {
	l.start()
	l.record(Frame(1, Tombstone("a", 1, 1, 1, "")))
	if err := l.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	reports := l.Reports()
	l.record(Frame(2, Order("a", 1, 2, 5, 2)))
	if forgotten, err := l.Settle(t.Context(), reports); err != nil || len(forgotten) != 0 {
		t.Fatalf("settled: %v %v", forgotten, err)
	}
	l.start()
	if a := l.load("a"); a.Order.Term != 2 || a.Order.Deleted {
		t.Errorf("a = %+v, want term 2", a)
	}
	l.record(Frame(3, Tombstone("a", 1, 3, 2, "")))
	if l.start(); !slices.Contains(l.jobs(), "a") {
		t.Error("a job that was deleted again counts as gone from its first deletion")
	}
}

func tombstoneAgain(t *testing.T, l *life) {
	l.start()
	l.record(Frame(1, Tombstone("a", 1, 1, 1, "")))
	if err := l.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	l.record(feed.Frame{
		Epoch: feed.Epoch{Number: 2, ID: "e2"}, Rows: []feed.Row{Tombstone("a", 2, 1, 1, "")}, Cursor: feed.Cursor{EpochID: "e2", Revision: 1},
	})
	for range 2 {
		if len(l.jobs()) != 0 {
			t.Errorf("jobs = %v", l.jobs())
		}
		l.start()
	}
	if r := l.Reports(); len(r) != 1 || !r[0].Status.Gone {
		t.Errorf("reports = %+v", r)
	}
}

func laterReport(t *testing.T, l *life) {
	l.start()
	l.record(Frame(1, Order("a", 1, 1, 1, 1)))
	first, err := l.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := l.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1}); same.ID != first.ID {
		t.Error("the same status was written twice")
	}
	l.start()
	if _, err := l.PutReport(t.Context(), "a", flink.Status{State: flink.Finished, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Settle(t.Context(), []feed.Report{first}); err != nil {
		t.Fatal(err)
	}
	l.start()
	left := l.Reports()
	if len(left) != 1 || left[0].Status.State != flink.Finished {
		t.Fatalf("left = %+v, want the later report", left)
	}
	if _, err := l.Settle(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if l.start(); len(l.Reports()) != 0 || len(l.jobs()) != 1 {
		t.Errorf("reports %+v, jobs %v", l.Reports(), l.jobs())
	}
}

func notRecorded(t *testing.T, l *life) {
	l.start()
	l.record(Frame(1, Order("a", 1, 1, 1, 1)))
	before := l.Standing()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Record(ctx, Frame(3, Order("a", 1, 2, 2, 1), Order("b", 1, 3, 1, 1))); err == nil {
		t.Fatal("a write that did not happen was no error")
	}
	if l.Standing() != before {
		t.Error("something of a failed frame is visible")
	}
	// A frame whose write goes on has no cursor.
	got := l.record(feed.Frame{Epoch: feed.Epoch{Number: 4, ID: "e4"}, Rows: []feed.Row{Order("a", 4, 2, 2, 1)}})
	if got.Cursor.Revision != 1 || l.Standing().MaxEpoch != 4 {
		t.Errorf("cursor = %+v, max epoch = %d", got.Cursor, l.Standing().MaxEpoch)
	}
}

func twice(t *testing.T, l *life) {
	l.start()
	l.record(Frame(2, Order("a", 1, 1, 1, 1), Order("a", 1, 2, 2, 1)))
	l.start()
	if a, st := l.load("a"), l.Standing(); a.Order.Generation != 2 || st.Count != 1 {
		t.Errorf("a = %+v, standing = %+v", a, st)
	}
}

func reportAlone(t *testing.T, l *life) {
	l.start()
	r, err := l.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.start()
	if left := l.Reports(); len(left) != 1 || left[0].ID != r.ID || len(l.jobs()) != 0 {
		t.Fatalf("reports = %+v, jobs = %v", left, l.jobs())
	}
	if _, err := l.Settle(t.Context(), []feed.Report{r}); err != nil {
		t.Fatal(err)
	}
	if l.start(); len(l.Reports()) != 0 {
		t.Errorf("reports = %+v", l.Reports())
	}
}

func abreast(t *testing.T, l *life) {
	const n, rounds = 8, 5
	l.start()
	var rows []feed.Row
	for i := range n {
		rows = append(rows, Order(fmt.Sprint("j", i), 1, int64(i+1), 1, 1))
	}
	l.record(Frame(n, rows...))
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for k := range rounds {
				if err := l.SaveMemory(t.Context(), fmt.Sprint("j", i), plan.Memory{Term: 1, LastRun: int32(k + 1)}); err != nil {
					t.Error(err)
				}
				if _, err := l.PutReport(t.Context(), fmt.Sprint("j", i), flink.Status{State: flink.Failed, Term: 1, Run: int32(k + 1)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for k := range rounds {
		rev := int64(n + k + 1)
		l.record(Frame(rev, Order(fmt.Sprint("j", k), 1, rev, int32(k+2), 1)))
	}
	all.Wait()
	before := l.Standing()
	l.start()
	if l.Standing() != before {
		t.Errorf("standing = %+v, want %+v", l.Standing(), before)
	}
	ids := map[uint64]bool{}
	for _, r := range l.Reports() {
		ids[r.ID] = true
	}
	for i := range n {
		want := int32(1)
		if i < rounds {
			want = int32(i + 2)
		}
		if j := l.load(fmt.Sprint("j", i)); j.Memory.LastRun != rounds || j.Order.Generation != want {
			t.Errorf("j%d = %+v", i, j)
		}
	}
	if len(ids) != n {
		t.Errorf("%d reports with ids of their own, want %d", len(ids), n)
	}
}
