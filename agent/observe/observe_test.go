package observe_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/observe"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

var run1 = flink.Run{UID: "j1", Term: 1, Run: 1}

// place is a fake at all three ports.
type place struct {
	runs       []flink.RunObserved
	err        error
	rest       flink.REST
	asked      []flink.RESTQuery
	savepoint  flink.Snapshot
	checkpoint flink.Snapshot
	exists     map[string]bool
	readErr    error
	reads      int
}

func (p *place) Observe(context.Context, string) ([]flink.RunObserved, flink.Room, error) {
	return append([]flink.RunObserved(nil), p.runs...), flink.Room{}, p.err
}

func (p *place) Exists(_ context.Context, path string) (bool, error) {
	return p.exists[path], p.readErr
}

func (p *place) Newest(context.Context, flink.Run, string) (flink.Snapshot, error) {
	p.reads++
	return p.checkpoint, p.readErr
}

func (p *place) Savepoint(context.Context, flink.Run, string) (flink.Snapshot, error) {
	p.reads++
	return p.savepoint, p.readErr
}

type rest struct{ *place }

func (r rest) Observe(_ context.Context, _ string, q flink.RESTQuery) flink.REST {
	r.asked = append(r.asked, q)
	return r.rest
}

func observer(p *place) *observe.Observer { return observe.New(p, rest{p}, p) }

func alive() []flink.RunObserved {
	return []flink.RunObserved{{Run: run1, JobManager: flink.Process{State: flink.ProcessRunning}, Endpoint: "http://jm"}}
}

func dead() []flink.RunObserved {
	return []flink.RunObserved{{Run: run1, JobManager: flink.Process{State: flink.ProcessExited}, Endpoint: "http://jm"}}
}

func order() flink.Order {
	return flink.Order{UID: "j1", Tenant: "default", Spec: flink.Spec{StateStorage: flink.StateStorage{Root: "file:///s"}}}
}

// over is the memory of a run that is over and whose directories were not read yet.
func over(stopDir string) plan.Memory {
	return plan.Memory{Current: &plan.RunRecord{Run: run1, StopDir: stopDir, Spec: order().Spec, End: &plan.End{Kind: plan.EndLost}}}
}

func TestWhatCannotBeSeenAtAllIsAnErrorAndNeverAnEmptyPlace(t *testing.T) {
	p := &place{err: errors.New("cannot list processes")}
	if seen, err := observer(p).Observe(t.Context(), order(), plan.Memory{}); err == nil {
		t.Errorf("got %+v", seen)
	}
}

func TestSilenceIsCountedFromItsFirstMomentUntilAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{runs: alive(), rest: flink.REST{Err: "connection refused"}}
		o := observer(p)
		look := func() time.Time {
			seen, err := o.Observe(t.Context(), order(), plan.Memory{})
			if err != nil {
				t.Fatal(err)
			}
			return seen.Runs[0].REST.SilentSince
		}
		first := look()
		time.Sleep(90 * time.Second)
		if again := look(); first.IsZero() || !again.Equal(first) {
			t.Errorf("silent since %s, then since %s", first, again)
		}
		p.rest = flink.REST{Reachable: true}
		if since := look(); !since.IsZero() {
			t.Errorf("it answers, and is silent since %s", since)
		}
		p.rest = flink.REST{Err: "connection refused"}
		if since := look(); !since.Equal(first.Add(90 * time.Second)) {
			t.Errorf("silent anew since %s", since)
		}
	})
}

func TestADeadJobManagerIsNotAsked(t *testing.T) {
	p := &place{runs: dead()}
	seen, err := observer(p).Observe(t.Context(), order(), plan.Memory{})
	if err != nil || len(p.asked) != 0 || seen.Runs[0].REST.Asked {
		t.Errorf("asked %v, %v", p.asked, err)
	}
}

func TestTheTriggerUnderWayIsAskedFor(t *testing.T) {
	p := &place{runs: alive(), rest: flink.REST{Reachable: true}}
	m := plan.Memory{Current: &plan.RunRecord{Run: run1, StopTrigger: "t1", Spec: order().Spec}}
	if _, err := observer(p).Observe(t.Context(), order(), m); err != nil {
		t.Fatal(err)
	}
	if len(p.asked) != 1 || p.asked[0] != (flink.RESTQuery{JobID: run1.JobID(), TriggerID: "t1"}) {
		t.Errorf("asked %+v", p.asked)
	}
}

func TestADeadRunsDirectoriesAreReadOnlyWhenNothingOfItLives(t *testing.T) {
	p := &place{runs: alive(), checkpoint: flink.Snapshot{Path: "file:/s/chk-3", ID: 3}}
	o := observer(p)
	seen, err := o.Observe(t.Context(), order(), over(""))
	if err != nil || seen.Newest != nil || p.reads != 0 {
		t.Errorf("while it lives: %+v after %d reads, %v", seen.Newest, p.reads, err)
	}
	p.runs = dead()
	seen, err = o.Observe(t.Context(), order(), over(""))
	if err != nil || seen.Newest == nil || seen.Newest.Snapshot.ID != 3 || seen.Newest.Run != run1 {
		t.Errorf("when it is gone: %+v, %v", seen.Newest, err)
	}
}

func TestASavepointOfTheLastStopIsNewerThanAnyCheckpoint(t *testing.T) {
	p := &place{
		runs: dead(), checkpoint: flink.Snapshot{Path: "file:/s/chk-9", ID: 9},
		savepoint: flink.Snapshot{Path: "file:/s/savepoints/t1-r1-0/savepoint-1", Kind: flink.KindSavepoint},
	}
	seen, err := observer(p).Observe(t.Context(), order(), over("file:///s/savepoints/t1-r1-0"))
	if err != nil || seen.Newest == nil || seen.Newest.Snapshot != p.savepoint {
		t.Errorf("newest is %+v, %v", seen.Newest, err)
	}
	p.savepoint = flink.Snapshot{} // the stop was never completed
	seen, err = observer(p).Observe(t.Context(), order(), over("file:///s/savepoints/t1-r1-0"))
	if err != nil || seen.Newest == nil || seen.Newest.Snapshot.ID != 9 {
		t.Errorf("newest is %+v, %v", seen.Newest, err)
	}
}

func TestStorageThatCannotBeReadIsSaidAndNothingIsConcluded(t *testing.T) {
	p := &place{runs: dead(), readErr: errors.New("input/output error")}
	o := order()
	o.Spec.StartFrom.Snapshot = "file:///s/sp"
	seen, err := observer(p).Observe(t.Context(), o, over(""))
	if err != nil || seen.Newest == nil || seen.Newest.Err == "" || !seen.Newest.Snapshot.IsZero() {
		t.Errorf("newest %+v, %v", seen.Newest, err)
	}
	if k := seen.SnapshotCheck; k == nil || k.Err == "" || k.Exists || k.Path != "file:///s/sp" {
		t.Errorf("check %+v", k)
	}
}
