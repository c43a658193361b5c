package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// policy is the order's delete policy, or its default.
func (p *pass) policy() flink.DeletePolicy {
	switch {
	case p.order.Policy != "":
		return p.order.Policy
	case p.order.Spec.Stateful():
		return flink.DeleteSavepoint
	}
	return flink.DeleteCancel
}

// delete stops the job as its policy says, and reports it gone when nothing of it is left.
func (p *pass) delete() Plan {
	if p.policy() == flink.DeleteOrphan {
		return p.gone("Deleted with policy orphan: it is forgotten here, and runs on")
	}
	c := p.m.Current
	p.m.Next = nil // nothing comes after it; its processes are a leftover
	if c == nil {
		return p.sweep("Deleted; it never ran")
	}
	if c.End == nil {
		if pl, ok := p.deleteLive(c); ok {
			return pl
		}
	}
	if !c.End.Gone {
		return p.act(Deleting, flink.Deleting, EndRun{Run: c.Run}, "Deleting: run %s is over (%s); ends what is left of it", c.Run, p.why(c))
	}
	if n := p.seen.Newest; p.policy() == flink.DeleteSavepoint && c.StopDir != "" && !c.End.Listed && (n == nil || n.Run != c.Run) {
		return p.wait(ReadingSnapshots, flink.Deleting, quick, "Deleting: run %s is over (%s); looks for the savepoint of its stop", c.Run, p.why(c))
	}
	if p.blocked(c) {
		return p.say(DeleteBlocked, flink.Deleting, fmt.Sprintf(
			"Deleting with a savepoint is not possible: run %s is over (%s). Ask again with policy cancel to give up what came after %s",
			c.Run, p.why(c), orNone(p.m.Snapshot.Path)), said{stalled: "NoSavepointPossible", requeue: slow})
	}
	msg := "Deleted"
	if p.m.Snapshot.Kind == flink.KindSavepoint {
		msg += "; its savepoint is " + p.m.Snapshot.Path
	}
	return p.sweep(msg)
}

// deleteLive stops a run that is not over. ok is false when there is nothing to stop any more.
func (p *pass) deleteLive(c *RunRecord) (Plan, bool) {
	s := p.look(c)
	j := s.REST.Job
	running := j != nil && j.AllRunning()
	if started := c.Phase == PhaseSubmitted || c.Phase == PhaseProven; started && p.policy() == flink.DeleteSavepoint {
		if pl, ok := p.recovering(c, s); ok {
			return pl, c.End == nil
		}
	}
	switch {
	case c.Phase == PhaseWarming, c.Phase == PhaseChecked, c.Phase == PhaseSubmitted && s.REST.JobsListed && j == nil:
		p.end(c, EndAbandoned, &flink.Cause{Message: "deleted before it had its job"})
		c.End.Gone = !s.Alive()
		return Plan{}, false
	case c.Phase == PhaseSubmitted && !p.m.HadSnapshot && !running, p.policy() == flink.DeleteCancel && (!s.REST.Reachable || c.HA && j == nil):
		// It never ran, or it is to be given up and does not answer: its processes are ended.
		p.end(c, EndCanceled, &flink.Cause{Message: "deleted"})
		c.End.Listed, c.End.Gone = true, !s.Alive()
		return Plan{}, false
	case !s.REST.Reachable:
		return p.silent(c, s), true
	case c.StopTrigger != "" && p.policy() == flink.DeleteSavepoint:
		return p.stopping(c, s), true
	case !c.CancelSince.IsZero():
		return p.canceling(c, s), true
	case p.policy() == flink.DeleteSavepoint && j != nil && !running:
		if pl, now, missing := p.replaceTaskManager(c, s); missing && now {
			return pl, true
		}
		if !c.NotRunning.IsZero() && p.now.Sub(c.NotRunning) < stuckLimit {
			return p.wait(Deleting, flink.Deleting, time.Second, "Deleting: waits for run %s's tasks before taking a savepoint", c.Run), true
		}
		return p.say(DeleteBlocked, flink.Deleting, fmt.Sprintf(
			"Deleting waits for a savepoint, and run %s's tasks do not run (Flink says %s). Ask again with policy cancel to do without one",
			c.Run, j.State), said{stalled: "NoSavepointPossible", requeue: slow}), true
	}
	return p.stop(Deleting, flink.Deleting, "to delete it"), true
}

// blocked reports whether the wish for a savepoint stands against the deletion:
// the job had state, it was not stopped with a savepoint, and none can be taken now.
func (p *pass) blocked(c *RunRecord) bool {
	unasked := c.End.Kind == EndFailed || c.End.Kind == EndLost
	return p.policy() == flink.DeleteSavepoint && p.m.HadSnapshot && unasked &&
		!p.suspend() && c.End.Snapshot.Kind != flink.KindSavepoint
}

// sweep ends the processes of every run that is left; then the job is gone.
func (p *pass) sweep(msg string) Plan {
	for _, s := range p.seen.Runs {
		if s.Alive() {
			return p.act(Deleting, flink.Deleting, EndRun{Run: s.Run}, "Deleting: ends what is left of run %s", s.Run)
		}
	}
	return p.gone(msg)
}

func (p *pass) gone(msg string) Plan {
	pl := p.say(Gone, flink.Deleting, msg, said{requeue: slow})
	pl.Gone, pl.Status.Gone = true, true
	return pl
}
