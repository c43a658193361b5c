package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

func withJob(t tester, o Options) *running {
	t.Helper()
	s := start(t, o)
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 1) })
	return s
}

func running1(message string) StatusRow {
	return StatusRow{JobUID: "j1", Term: 1, Status: flink.Status{State: flink.Running, Term: 1, Message: message}}
}

// onDisk opens a copy of the files as they are now, as after a kill.
func onDisk(t *testing.T, dir, uid string) (StatusRow, bool) {
	t.Helper()
	to := t.TempDir()
	copyFiles(t, dir, to)
	s := mustOpen(t, Options{Dir: to})
	defer s.Close()
	return s.Status(uid)
}

func TestStatusesAreWrittenBehindWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := withJob(t, Options{Dir: dir, Init: true})
		if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("one")}, false); err != nil {
			t.Fatal(err)
		}
		if r, ok := s.Status("j1"); !ok || r.Status.Message != "one" || r.ClusterUID != "c1" || r.ReceivedAt.IsZero() {
			t.Errorf("status in memory: %+v", r)
		}
		if r, ok := onDisk(t, dir, "j1"); ok {
			t.Errorf("on disk at once: %+v", r)
		}
		time.Sleep(writeBehind + time.Millisecond)
		synctest.Wait()
		if r, ok := onDisk(t, dir, "j1"); !ok || r.Status.Message != "one" {
			t.Errorf("on disk after a second: %+v", r)
		}
		// And at the end of Run, without a second to wait for.
		if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("two")}, false); err != nil {
			t.Fatal(err)
		}
		s.stop(t)
		if r, ok := onDisk(t, dir, "j1"); !ok || r.Status.Message != "two" {
			t.Errorf("on disk after Run: %+v", r)
		}
	})
}

func TestADurableStatusIsOnDiskBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		commits, busy := 0, make(chan struct{})
		s := withJob(t, Options{Dir: dir, Init: true, faults: faults{step: func(step string) {
			if step != "write statuses" {
				return
			}
			if commits++; commits == 2 {
				<-busy // the disk takes its time
			}
		}}})
		began := time.Now()
		if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("final")}, true); err != nil {
			t.Fatal(err)
		}
		if r, ok := onDisk(t, dir, "j1"); !ok || r.Status.Message != "final" {
			t.Errorf("on disk at the answer: %+v", r)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s for a tick", waited)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1(fmt.Sprint(i))}, true); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all of them wait by now
		close(busy)
		wg.Wait()
		s.stop(t)
		if commits > 3 {
			t.Errorf("%d commits for 51 callers, of whom 50 came at once: they are not grouped", commits)
		}
		if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("late")}, true); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v, want ErrClosed", err)
		}
	})
}

func TestNoAgentSpeaksForAnothersJobOrAnotherTerm(t *testing.T) {
	s := withJob(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	put := func(cluster string, r StatusRow) string {
		t.Helper()
		if err := s.PutStatuses(t.Context(), cluster, []StatusRow{r}, false); err != nil {
			t.Fatal(err)
		}
		kept, _ := s.Status("j1")
		return kept.Status.Message
	}
	if got := put("c2", running1("forged")); got != "" {
		t.Errorf("a cluster without the order: %q", got)
	}
	if got := put("c1", StatusRow{JobUID: "unknown", Status: flink.Status{Message: "x"}}); got != "" {
		t.Errorf("a job nobody knows: %q", got)
	}
	if _, ok := s.Status("unknown"); ok {
		t.Error("a status of an unknown job was kept")
	}
	if got := put("c1", StatusRow{JobUID: "j1", Term: 2, Status: flink.Status{Message: "term of the future"}}); got != "" {
		t.Errorf("a later term than the order's: %q", got)
	}
	if got := put("c1", running1("one")); got != "one" {
		t.Errorf("its own: %q", got)
	}
	s.write(t, func(txn *Txn) {
		txn.PutOrder(FeedRow{ClusterUID: "c2", UID: "j1", Term: 2})
		txn.PutOrder(FeedRow{ClusterUID: "c1", UID: "j1", Term: 2, Deleted: true})
	})
	if got := put("c2", StatusRow{JobUID: "j1", Term: 2, Status: flink.Status{Message: "two"}}); got != "two" {
		t.Errorf("the next holder: %q", got)
	}
	if got := put("c1", running1("late")); got != "two" {
		t.Errorf("a lower term than kept: %q", got)
	}
}

func TestANackStandsUntilTheOrderChangesOrItIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	s := withJob(t, Options{Dir: dir, Init: true})
	nack := func(code string) {
		t.Helper()
		order, _ := s.View().Order("c1", "j1")
		if err := s.PutNacks(t.Context(), "c1", map[string]Nack{"j1": {Version: order.Version, Code: code, Text: "why"}}); err != nil {
			t.Fatal(err)
		}
	}
	stands := func() bool { r, _ := s.Status("j1"); return r.Nack != nil }
	nack("PERMANENT")
	if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("one")}, false); err != nil || !stands() {
		t.Errorf("a status took the nack away, %v", err)
	}
	s.stop(t)
	s = start(t, Options{Dir: dir})
	defer func() { s.stop(t) }()
	if !stands() {
		t.Error("the nack did not survive a restart")
	}
	nack("")
	if stands() {
		t.Error("the nack was not taken back")
	}
	old, _ := s.View().Order("c1", "j1")
	nack("PERMANENT")
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 2) })
	if stands() {
		t.Error("the nack of an older order stands")
	}
	if err := s.PutNacks(t.Context(), "c1", map[string]Nack{"j1": {Version: old.Version, Code: "PERMANENT"}}); err != nil || stands() {
		t.Errorf("a late nack of an older order stands, %v", err)
	}
}

func TestWhatWasObservedOfAJobGoesWithIt(t *testing.T) {
	dir := t.TempDir()
	s := withJob(t, Options{Dir: dir, Init: true})
	if err := s.PutStatuses(t.Context(), "c1", []StatusRow{running1("one")}, true); err != nil {
		t.Fatal(err)
	}
	s.write(t, func(txn *Txn) { dropJob(txn, "c1", "j1") })
	if _, ok := s.Status("j1"); ok {
		t.Error("the status is still there")
	}
	s.stop(t)
	n := 0
	r := mustOpen(t, Options{Dir: dir})
	defer r.Close()
	if err := r.rows.loadObserved(func(StatusRow) { n++ }); err != nil || n != 0 {
		t.Errorf("%d statuses on disk, %v", n, err)
	}
}
