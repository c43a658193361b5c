package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// stop ends the current run's job with its state kept as the order's upgrade
// mode says: with a savepoint, or by cancel.
func (p *pass) stop(sit Situation, st flink.JobState, why string) Plan {
	c := p.m.Current
	s := p.look(c)
	j := s.REST.Job
	switch {
	case j == nil:
		return p.wait(sit, st, quick, "Waits for run %s's JobManager before stopping it", c.Run)
	case !p.saves():
		return p.cancel(c, "Cancels run %s, %s", c.Run, why)
	case !j.AllRunning() && !c.NotRunning.IsZero() && p.now.Sub(c.NotRunning) < stuckLimit:
		return p.wait(NothingToSave, st, time.Second, "Waits for run %s's tasks before taking a savepoint, %s", c.Run, why)
	case !j.AllRunning():
		return p.cancel(c, "No savepoint can be taken, since run %s's tasks do not run; cancels it and goes on from its newest checkpoint, %s", c.Run, why)
	case p.now.Before(p.m.Savepoint.RetryAt):
		return p.savepointFailed(st)
	}
	c.StopTrigger, c.StopDir, c.StopSince = c.Run.TriggerID("stop", c.Stops), p.stopDir(c), p.now
	c.Stops++
	return p.act(TakingSavepoint, st, p.stopAction(c), "Stops run %s with a savepoint, %s", c.Run, why)
}

// stopDir is the directory of a run's next stop alone.
func (p *pass) stopDir(c *RunRecord) string {
	return fmt.Sprintf("%s/t%d-r%d-%d", config.Dirs(c.Spec.StateStorage.Root, p.order.Tenant, c.Run).Savepoints, c.Run.Term, c.Run.Run, c.Stops)
}

// saves reports whether stopping the current run keeps its state in a savepoint.
func (p *pass) saves() bool {
	if p.order.Deleted {
		return p.policy() == flink.DeleteSavepoint
	}
	return p.order.Spec.Stateful()
}

func (p *pass) stopAction(c *RunRecord) Action {
	return StopJob{Run: c.Run, JobID: c.Run.JobID(), TriggerID: c.StopTrigger, Directory: c.StopDir}
}

// stopping waits for a stop with savepoint that is under way.
func (p *pass) stopping(c *RunRecord, s flink.RunObserved) Plan {
	st := p.stopState()
	if s.REST.TriggerGone && s.REST.Job != nil && !flink.JobTerminal(s.REST.Job.State) {
		return p.act(TakingSavepoint, st, p.stopAction(c), "Asks again for run %s's stop with a savepoint: its JobManager does not know of it", c.Run)
	}
	switch {
	case p.stopStuck(c, s) && p.order.Deleted:
		return p.say(DeleteBlocked, st, fmt.Sprintf(
			"Deleting waits for a savepoint, and run %s's tasks ended while it was taken. Ask again with policy cancel to do without one", c.Run),
			said{stalled: "NoSavepointPossible", requeue: slow})
	case p.stopStuck(c, s):
		return p.cancel(c, "Run %s's tasks ended while a savepoint was taken, and Flink does not give it up; cancels the job and goes on from what it left", c.Run)
	}
	took := p.now.Sub(c.StopSince)
	if took > stopLimit {
		return p.say(TakingSavepoint, st, fmt.Sprintf("Run %s is being stopped with a savepoint since %s, and neither comes to an end", c.Run, age(took)),
			said{stalled: "SavepointSlow", requeue: slow})
	}
	return p.wait(TakingSavepoint, st, quick, "Run %s is being stopped with a savepoint since %s", c.Run, age(took))
}

// stopStuck reports whether a stop with savepoint waits for tasks that are gone:
// Flink 1.20 neither ends it nor restarts them before the checkpoint timeout.
func (p *pass) stopStuck(c *RunRecord, s flink.RunObserved) bool {
	j := s.REST.Job
	return j != nil && !flink.JobTerminal(j.State) && j.TasksRunning == 0 &&
		!c.NotRunning.IsZero() && p.now.Sub(c.NotRunning) >= stuckLimit
}

func (p *pass) stopState() flink.JobState {
	switch {
	case p.order.Deleted:
		return flink.Deleting
	case p.suspend():
		return flink.Suspending
	}
	return flink.Upgrading
}

func (p *pass) savepointFailed(st flink.JobState) Plan {
	sp := p.m.Savepoint
	if st == flink.Upgrading {
		st = p.goingOn()
	}
	return p.say(SavepointFailed, st, fmt.Sprintf("Run %s goes on, since its savepoint failed %d times (%s); next try at %s",
		p.m.Current.Run, sp.Attempt, sp.LastErr, clock(sp.RetryAt)),
		said{stalled: "SavepointFailed", requeue: sp.RetryAt.Sub(p.now)})
}

// cancel cancels the current run's job; what it retained is read afterwards.
func (p *pass) cancel(c *RunRecord, format string, args ...any) Plan {
	if c.CancelSince.IsZero() {
		c.CancelSince = p.now
	}
	return p.act(Canceling, p.stopState(), CancelJob{Run: c.Run, JobID: c.Run.JobID()}, format, args...)
}

func (p *pass) canceling(c *RunRecord, s flink.RunObserved) Plan {
	if p.now.Sub(c.CancelSince) > cancelLimit {
		p.end(c, EndCanceled, &flink.Cause{Message: "it did not end by itself within " + age(cancelLimit)})
		return p.act(OldRunNotEnded, p.stopState(), EndRun{Run: c.Run}, "Ends the processes of run %s: its job did not cancel within %s", c.Run, age(cancelLimit))
	}
	if j := s.REST.Job; j != nil && j.State != flink.JobCancelling && p.now.Sub(c.CancelSince) > time.Second {
		return p.act(Canceling, p.stopState(), CancelJob{Run: c.Run, JobID: c.Run.JobID()}, "Cancels run %s again: Flink says %s", c.Run, j.State)
	}
	return p.wait(Canceling, p.stopState(), quick, "Run %s is being canceled", c.Run)
}
