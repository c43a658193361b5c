package plan

import (
	"fmt"

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
	switch {
	case c.Phase == PhaseWarming, c.Phase == PhaseChecked:
		p.end(c, EndAbandoned, &flink.Cause{Message: "deleted before its job was handed in"})
		if !s.Alive() {
			c.End.Gone = true
		}
		return Plan{}, false
	case c.Phase == PhaseSubmitted && !p.m.HadSnapshot, p.policy() == flink.DeleteCancel && !s.REST.Reachable:
		// It never ran, or it is to be given up and does not answer: its processes are ended.
		p.end(c, EndCanceled, &flink.Cause{Message: "deleted"})
		c.End.Listed = true
		return Plan{}, false
	case !s.REST.Reachable:
		return p.silent(c, s), true
	case c.StopTrigger != "" && p.policy() == flink.DeleteSavepoint:
		return p.stopping(c, s), true
	case !c.CancelSince.IsZero():
		return p.canceling(c, s), true
	case p.policy() == flink.DeleteSavepoint && s.REST.Job != nil && !s.REST.Job.AllRunning():
		return p.say(DeleteBlocked, flink.Deleting, fmt.Sprintf(
			"Deleting waits for a savepoint, and run %s's tasks do not run (Flink says %s). Ask again with policy cancel to do without one",
			c.Run, s.REST.Job.State), said{stalled: "NoSavepointPossible", requeue: slow}), true
	}
	return p.stop(Deleting, flink.Deleting, "to delete it"), true
}

// blocked reports whether the wish for a savepoint stands against the deletion:
// the job had state, it was not stopped with a savepoint, and none can be taken now.
func (p *pass) blocked(c *RunRecord) bool {
	if p.policy() != flink.DeleteSavepoint || !p.m.HadSnapshot {
		return false
	}
	switch c.End.Kind {
	case EndFailed, EndLost:
		return p.m.Said.State != flink.Suspended
	case EndStopped, EndFinished, EndCanceled, EndAbandoned:
	}
	return false
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
