package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// ended decides what follows the end of the current run.
func (p *pass) ended() Plan {
	c := p.m.Current
	e := c.End
	p.m.Previous = nil // it waited for a proof that does not come
	if n := p.m.Next; n != nil && (p.suspend() || p.refused() && !p.goesOn() || p.outdatedNext(n) || p.finished()) {
		p.m.Next = nil // nothing for it to do any more: it is a leftover
	}
	if p.m.Next != nil && p.settled(c) {
		return p.handOver()
	}
	if !e.Gone {
		return p.act(OldRunNotEnded, p.endState(), EndRun{Run: c.Run}, "Run %s is over (%s); ends what is left of it", c.Run, p.why(c))
	}
	if !e.Listed && !p.fresh() && !p.namesStart() {
		return p.listing(c)
	}
	switch {
	case p.finished():
		how := "`restart` does"
		switch {
		case !p.m.Snapshot.IsZero():
			how = fmt.Sprintf("`restart` goes on from savepoint %s, with which somebody stopped it", p.m.Snapshot.Path)
		case p.m.HadSnapshot && p.order.Spec.Stateful():
			how = "upgradeMode stateless and a `restart` do, from the start"
		}
		return p.rest(JobFinished, flink.Finished, "Finished %s; an edit does not run it again, %s", when(e.At), how)
	case p.suspend():
		msg := "Suspended"
		switch {
		case p.namesStart():
			msg += fmt.Sprintf("; it resumes from %s, as the restart says", p.order.RestartFrom)
		case !p.order.Spec.Stateful():
			msg += "; it resumes empty, as upgradeMode stateless says"
		case !p.m.Snapshot.IsZero():
			msg += fmt.Sprintf("; it resumes from %s %s", p.m.Snapshot.Kind, p.m.Snapshot.Path)
		}
		return p.rest(SuspendedInSync, flink.Suspended, "%s", msg)
	case p.refused() && !p.goesOn(), p.countFailure(c):
		return p.impossible()
	case p.m.Next != nil:
		return p.handOver()
	case p.now.Before(p.m.RetryAt):
		return p.backingOff(c)
	}
	path, why, pl, ok := p.startPath()
	if !ok {
		return pl
	}
	return p.launch(path, why, true)
}

// finished reports whether the job is done: nothing but a restart runs it again.
func (p *pass) finished() bool {
	c := p.m.Current
	return c.End.Kind == EndFinished && c.Restart == p.order.Restart
}

// settled reports whether a run that is over leaves nothing to be read, so that
// its processes may stay until its successor is proven: its job is terminal, and
// its savepoint is on record or its state is not wanted.
func (p *pass) settled(c *RunRecord) bool {
	if c.End.Kind == EndStopped {
		return c.End.Listed
	}
	j := p.look(c).REST.Job
	return p.fresh() && j != nil && flink.JobTerminal(j.State)
}

// handOver makes the successor the current run and hands in its job as soon as
// it is warm and checked. The old run's end is on record.
func (p *pass) handOver() Plan {
	path, why, pl, ok := p.startPath()
	if !ok {
		return pl
	}
	n := p.m.Next
	p.intend(n, path, why)
	p.m.Previous, p.m.Current, p.m.Next = p.m.Current, n, nil
	p.m.Savepoint = SavepointRecord{}
	return p.bringUp(n)
}

// endState is what a person should see between a run's end and what follows.
func (p *pass) endState() flink.JobState {
	c := p.m.Current
	switch {
	case p.order.Deleted:
		return flink.Deleting
	case p.suspend():
		return flink.Suspending
	case p.refused() && !p.goesOn():
		return flink.Failed
	case c.End.Kind == EndFinished:
		return flink.Finished
	case c.End.Kind == EndLost || c.End.Kind == EndFailed:
		return flink.Failing
	case c.End.Kind == EndAbandoned:
		return p.state(c)
	}
	return flink.Upgrading
}

func (p *pass) why(c *RunRecord) string {
	if c.End.Cause != nil {
		return string(c.End.Kind) + ": " + c.End.Cause.String()
	}
	return string(c.End.Kind)
}

// listing waits for the dead run's newest checkpoint, or says why it cannot be told.
func (p *pass) listing(c *RunRecord) Plan {
	n := p.seen.Newest
	switch {
	case c.HAFault != "":
		return p.ask(c, Situation(c.HAFault), "its newest checkpoint cannot be told for certain")
	case n == nil, n.Run != c.Run, c.HA && p.now.Sub(c.End.GoneAt) < readAfter:
		return p.wait(p.lossSituation(c), p.endState(), quick, "Run %s is over (%s); looks for its newest checkpoint", c.Run, p.why(c))
	case c.HA && c.End.Kind == EndStopped:
		return p.ask(c, SnapshotsUnread, "the name of its savepoint cannot be told")
	case n.Err != "" && c.HA:
		return p.ask(c, SnapshotsUnread, "its newest snapshot cannot be told for certain ("+bounded(n.Err)+")")
	case n.Err != "":
		return p.say(SnapshotsUnread, p.endState(), fmt.Sprintf("Run %s is over (%s), and its state storage cannot be read: %s; trying again%s", c.Run, p.why(c), n.Err, p.notNamed()),
			said{stalled: "SnapshotsUnread", requeue: slow})
	}
	if c.HA {
		return p.ask(c, SnapshotMissing, "the newest on record of it is older than what was seen: "+orNone(n.Snapshot.Path))
	}
	return p.say(SnapshotMissing, flink.Failed, fmt.Sprintf(
		"Run %s is over (%s); checkpoint %s was completed and cannot be found now, newest found: %s. Not started from an older state; bring it back, or delete the job%s",
		c.Run, p.why(c), c.Checkpoint.Path, orNone(n.Snapshot.Path), p.notNamed()), said{stalled: "SnapshotMissing", requeue: slow})
}

func (p *pass) lossSituation(c *RunRecord) Situation {
	switch {
	case c.End.Kind == EndFailed:
		return JobFailed
	case c.End.Kind == EndLost && p.look(c).JobManager.Exists():
		return JobLost
	case c.End.Kind == EndLost:
		return JobManagerLost
	}
	return ReadingSnapshots
}

// countFailure counts an unasked end once. It reports whether the order cannot start for good.
func (p *pass) countFailure(c *RunRecord) bool {
	e := c.End
	if e.Counted || e.Kind != EndLost && e.Kind != EndFailed || p.outdated(c) {
		return false
	}
	e.Counted = true
	lost := e.Kind == EndLost
	long := provenFor
	if lost {
		long = calmFor
	}
	if c.Phase == PhaseProven && e.At.Sub(c.PhaseSince) > long {
		p.m.Failures = 0
	}
	p.failedStart()
	if lost && p.m.Failures == 1 {
		p.m.RetryAt = time.Time{} // a lost process is not the job's fault: the first time at once
	}
	if c.Phase == PhaseProven {
		return false // once RUNNING: it comes back from its newest checkpoint, with back-off
	}
	if e.Cause != nil {
		if failure.ClassifyCause(e.Cause, failure.AtRestore).Kind == failure.Permanent {
			p.refuse(c, "StartFailed", "%s%s", p.sentence(*e.Cause, failure.AtRestore), p.backToOwn(c))
			return true
		}
	}
	if e.Kind == EndFailed && p.m.Failures >= maxStarts && !c.Good {
		p.refuse(c, "StartFailed", "%d starts failed: %s", p.m.Failures, p.why(c))
		return true
	}
	return false
}

func (p *pass) backingOff(c *RunRecord) Plan {
	st := flink.Failing
	if !p.m.HadSnapshot && c.Phase != PhaseProven {
		st = flink.Starting
	}
	return p.say(BackingOff, st, fmt.Sprintf("Run %s is over (%s); the next one starts at %s, try %d",
		c.Run, p.why(c), clock(p.m.RetryAt), p.m.Failures+1), said{requeue: p.m.RetryAt.Sub(p.now)})
}

// leftovers ends what exists of runs that no record names: dead runs, given-up
// warm ones, and the old run once its successor is proven.
func (p *pass) leftovers() (Plan, bool) {
	left := p.left()
	if len(left) == 0 {
		return Plan{}, false
	}
	st := flink.JobState(or(string(p.m.Said.State), string(flink.Pending)))
	return p.act(Leftovers, st, EndRun{Run: left[0]}, "Ends what is left of run %s", left[0]), true
}

// left lists the runs that live and that no record names.
func (p *pass) left() []flink.Run {
	var left []flink.Run
	for _, s := range p.seen.Runs {
		if s.Alive() && !p.named(s.Run) {
			left = append(left, s.Run)
		}
	}
	return left
}

func (p *pass) named(r flink.Run) bool {
	for _, rec := range []*RunRecord{p.m.Current, p.m.Next, p.m.Previous} {
		if rec != nil && rec.Run == r {
			return true
		}
	}
	return false
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
