package plan_test

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// reduced is a proven run of two TaskManagers whose job runs at parallelism 1.
func reduced(at time.Time, registered, wanted int32) (flink.Order, flink.Observed, plan.Memory) {
	o := flink.Order{UID: "j1", Tenant: "default", Name: "clicks", Generation: 1, Term: 1, Spec: flink.Default(flink.Spec{
		State: flink.StateRunning, FlinkVersion: "2.3", Parallelism: 2, StateStorage: flink.StateStorage{Root: "file:///s"},
	})}
	run := flink.Run{UID: "j1", Term: 1, Run: 1}
	live := flink.Process{State: flink.ProcessRunning, StartedAt: at.Add(-time.Hour)}
	seen := flink.Observed{At: at, Runs: []flink.RunObserved{{
		Run: run, JobManager: live, TaskManagers: []flink.Process{live, live}, Endpoint: "http://here",
		REST: flink.REST{Asked: true, Reachable: true, JobsListed: true, TaskManagers: registered, SlotsTotal: registered, Job: &flink.JobObserved{
			ID: run.JobID(), State: flink.JobRunning, TasksRunning: 2, TasksTotal: 2, Parallelism: 1, Wanted: wanted,
		}},
	}}}
	return o, seen, plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{
		Run: run, Generation: 1, Spec: o.Spec, Phase: plan.PhaseProven, Seen: true, Since: at, PhaseSince: at,
	}}
}

func TestAProgramThatWantsLessThanTheSpecOffersIsReady(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	o, seen, m := reduced(now, 2, 1)
	p := plan.Next(o, seen, m, now)
	if p.Situation != plan.InSync || p.Status.Condition(flink.ConditionReady).Status != flink.True {
		t.Errorf("%s, Ready %s: %s", p.Situation, p.Status.Condition(flink.ConditionReady).Status, p.Status.Message)
	}
}

func TestARunWithAHungTaskManagerIsReplacedWithItsStateAfterAWhile(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	o, seen, m := reduced(now, 1, 2)
	first := plan.Next(o, seen, m, now)
	if first.Situation != plan.TasksNotRunning || first.Action != nil || first.Status.Condition(flink.ConditionReady).Status == flink.True {
		t.Errorf("at first %s, %v", first.Situation, first.Action)
	}
	later := now.Add(119 * time.Second)
	seen.At = later
	if p := plan.Next(o, seen, first.Memory, later); p.Action != nil {
		t.Errorf("after 119 s: %v", p.Action)
	}
	later = now.Add(2 * time.Minute)
	seen.At = later
	p := plan.Next(o, seen, first.Memory, later)
	if _, ok := p.Action.(plan.StopJob); !ok || p.Status.State != flink.Failing {
		t.Errorf("after 2 min %s, %s, %v: %s", p.Situation, p.Status.State, p.Action, p.Status.Message)
	}
	// One that comes back by itself is left alone.
	seen.Runs[0].REST.TaskManagers, seen.Runs[0].REST.Job.Parallelism = 2, 2
	if p := plan.Next(o, seen, first.Memory, later); p.Action != nil || p.Situation != plan.InSync || !p.Memory.Current.Reduced.IsZero() {
		t.Errorf("back by itself: %s, %v", p.Situation, p.Action)
	}
}
