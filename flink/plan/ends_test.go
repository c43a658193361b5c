package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

func TestAnEndNobodySawNamesNoExitCode(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for code, want := range map[int]string{
		-1:  "its JobManager ended, and its exit code is not known",
		137: "its JobManager ended with exit code 137",
	} {
		run := flink.Run{UID: worldUID, Term: 1, Run: 1}
		m := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{Run: run, Phase: plan.PhaseProven, PhaseSince: now}}
		seen := flink.Observed{At: now, Runs: []flink.RunObserved{{
			Run: run, JobManager: flink.Process{State: flink.ProcessExited, ExitCode: code},
		}}}
		p := plan.Next(flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1}, seen, m, now)
		if !strings.Contains(p.Status.Message, "(lost: "+want+")") {
			t.Errorf("exit %d: %s", code, p.Status.Message)
		}
	}
}

func TestALostTaskManagersOwnWordsAreTold(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	run := flink.Run{UID: worldUID, Term: 1, Run: 1}
	m := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{Run: run, Phase: plan.PhaseProven, PhaseSince: now}}
	const memory = "ended with exit code 255: java.lang.OutOfMemoryError: Java heap space"
	for id, told := range map[string]bool{"tm-1-3": true, "tm-1-1": false} {
		seen := flink.Observed{At: now, Runs: []flink.RunObserved{{
			Run: run, JobManager: flink.Process{State: flink.ProcessRunning},
			TaskManagers: []flink.Process{
				{State: flink.ProcessExited, ID: id, ExitCode: 255, Reason: "java.lang.OutOfMemoryError: Java heap space"},
				{State: flink.ProcessRunning, ID: "tm-1-4"},
			},
			REST: flink.REST{Asked: true, Reachable: true, JobsListed: true, Job: &flink.JobObserved{
				ID: run.JobID(), State: flink.JobRestarting, TasksTotal: 2,
				Cause: &flink.Cause{Message: "TaskManager with id tm-1-3 is no longer reachable."},
			}},
		}}}
		order := flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1, Spec: m.Current.Spec}
		p := plan.Next(order, seen, m, now)
		if p.Situation != plan.TasksNotRunning || strings.Contains(p.Status.Message, memory) != told {
			t.Errorf("%s: %s: %s", id, p.Situation, p.Status.Message)
		}
	}
}

func TestARunWhoseTaskManagersHangIsOver(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		down       time.Duration // since when the tasks do not run
		age        time.Duration // of the TaskManager's process
		registered int32
		deleted    bool
		over       bool
	}{
		"hung":                {2 * time.Minute, time.Hour, 0, false, true},
		"not yet so long":     {119 * time.Second, time.Hour, 0, false, false},
		"replaced just now":   {2 * time.Minute, time.Minute, 0, false, false},
		"registered":          {2 * time.Minute, time.Hour, 1, false, false},
		"asked for savepoint": {2 * time.Minute, time.Hour, 0, true, false},
	} {
		run := flink.Run{UID: worldUID, Term: 1, Run: 1}
		m := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{
			Run: run, Phase: plan.PhaseProven, PhaseSince: now.Add(-time.Hour), NotRunning: now.Add(-c.down),
		}}
		seen := flink.Observed{At: now, Runs: []flink.RunObserved{{
			Run: run, JobManager: flink.Process{State: flink.ProcessRunning},
			TaskManagers: []flink.Process{{State: flink.ProcessRunning, ID: "tm-1-1", StartedAt: now.Add(-c.age)}},
			REST: flink.REST{Asked: true, Reachable: true, JobsListed: true, TaskManagers: c.registered, Job: &flink.JobObserved{
				ID: run.JobID(), State: flink.JobCreated,
			}},
		}}}
		p := plan.Next(flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1, Deleted: c.deleted}, seen, m, now)
		if e := p.Memory.Current.End; (e != nil && e.Kind == plan.EndLost) != c.over {
			t.Errorf("%s: over is %v, want %v: %s: %s", name, e != nil, c.over, p.Situation, p.Status.Message)
		}
	}
}

func TestAJobStoppedBySomebodyElseGoesOnFromThatSavepointWhenAsked(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	run := flink.Run{UID: worldUID, Term: 1, Run: 1}
	spec := flink.Default(flink.Spec{UpgradeMode: flink.UpgradeSavepoint})
	order := flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1, Spec: spec}
	for kind, want := range map[string]string{flink.KindSavepoint: "file:/s/theirs", flink.KindCheckpoint: ""} {
		m := plan.Memory{
			Term: 1, LastRun: 1, HadSnapshot: true,
			Current: &plan.RunRecord{Run: run, Spec: spec, Phase: plan.PhaseProven, PhaseSince: now},
		}
		alive := flink.RunObserved{
			Run: run, JobManager: flink.Process{State: flink.ProcessRunning},
			REST: flink.REST{Asked: true, Reachable: true, JobsListed: true, Job: &flink.JobObserved{
				ID: run.JobID(), State: flink.JobFinished,
				Latest: flink.Snapshot{Path: "file:/s/theirs", Kind: kind, ID: 7, CompletedAt: now},
			}},
		}
		m = plan.Next(order, flink.Observed{At: now, Runs: []flink.RunObserved{alive}}, m, now).Memory
		p := plan.Next(order, flink.Observed{At: now}, m, now)
		if p.Situation != plan.JobFinished || strings.Contains(p.Status.Message, "file:/s/theirs") != (want != "") {
			t.Errorf("%s: %s: %s", kind, p.Situation, p.Status.Message)
		}
		again := order
		again.Restart++
		p = plan.Next(again, flink.Observed{At: now}, p.Memory, now)
		if got := p.Memory.Current; want != "" && got.Intended != want || want == "" && p.Situation != plan.StartImpossible {
			t.Errorf("%s: restarted from %q: %s: %s", kind, got.Intended, p.Situation, p.Status.Message)
		}
	}
}

// TestAStopWhoseTasksAreGoneIsNotWaitedFor is what Flink 1.20 does when the TaskManagers die during a stop with
// savepoint: the job stays RUNNING with no task, and its savepoint in progress.
func TestAStopWhoseTasksAreGoneIsNotWaitedFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	run := flink.Run{UID: worldUID, Term: 1, Run: 1}
	for name, c := range map[string]struct {
		down    time.Duration // since when not all tasks run
		running int32
		state   string
		deleted bool
		cancels bool
	}{
		"no task is left":            {20 * time.Second, 0, flink.JobRunning, false, true},
		"not yet so long":            {19 * time.Second, 0, flink.JobRunning, false, false},
		"some finish later":          {time.Minute, 1, flink.JobRunning, false, false},
		"stopped, its path to come":  {time.Minute, 0, flink.JobFinished, false, false},
		"a savepoint is insisted on": {time.Minute, 0, flink.JobRunning, true, false},
	} {
		m := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{
			Run: run, Phase: plan.PhaseProven, PhaseSince: now.Add(-time.Hour), Seen: true,
			StopTrigger: "t", StopDir: "file:/s/sp", StopSince: now.Add(-time.Minute), NotRunning: now.Add(-c.down),
		}}
		seen := flink.Observed{At: now, Runs: []flink.RunObserved{{
			Run: run, JobManager: flink.Process{State: flink.ProcessRunning},
			REST: flink.REST{
				Asked: true, Reachable: true, JobsListed: true, Trigger: &flink.Trigger{ID: "t"},
				Job: &flink.JobObserved{ID: run.JobID(), State: c.state, TasksRunning: c.running, TasksTotal: 3},
			},
		}}}
		order := flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1, Generation: 2, Deleted: c.deleted, Policy: flink.DeleteSavepoint}
		p := plan.Next(order, seen, m, now)
		if _, ok := p.Action.(plan.CancelJob); ok != c.cancels {
			t.Errorf("%s: cancels %v, want %v: %s: %s", name, ok, c.cancels, p.Situation, p.Status.Message)
		}
		if (p.Situation == plan.DeleteBlocked) != c.deleted {
			t.Errorf("%s: %s: %s", name, p.Situation, p.Status.Message)
		}
		if p.Memory.Current.StopDir == "" {
			t.Errorf("%s: the directory of the stop is forgotten, and with it a savepoint that was completed", name)
		}
	}
}
