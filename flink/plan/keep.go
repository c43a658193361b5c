package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// keep looks after a run that has its job: in sync, healed, or on its way to the next.
func (p *pass) keep() Plan {
	c := p.m.Current
	s := p.look(c)
	if c.Phase != PhaseProven {
		return p.prove()
	}
	if pl, ok := p.recovering(c, s); ok {
		return pl
	}
	switch {
	case !s.REST.Reachable:
		return p.silent(c, s)
	case !c.CancelSince.IsZero():
		return p.canceling(c, s)
	case c.StopTrigger != "":
		return p.stopping(c, s)
	}
	healing, now, missing := p.replaceTaskManager(c, s)
	switch {
	case missing && now:
		return healing // whatever else is wanted: what runs is healed first, so that it can be stopped with its state
	case p.suspend():
		p.m.Next = nil
		return p.stop(Suspending, flink.Suspending, "to suspend")
	case p.outdated(c):
		return p.upgrade(c, s)
	case c.HAFault != "":
		return p.damaged(c, s)
	}
	p.m.Next = nil
	drifted, _ := p.drifted(c, s)
	switch {
	case missing:
		return healing
	case drifted:
		return p.putBack(c, s)
	case !c.Reduced.IsZero() && p.now.Sub(c.Reduced) >= silentAfter:
		return p.stop(TaskManagerHung, flink.Failing, "to replace it, since one of its TaskManagers lives and does nothing for "+age(silentAfter))
	}
	return p.inSync(c, s)
}

func (p *pass) silent(c *RunRecord, s flink.RunObserved) Plan {
	if c.HA {
		return p.silentHA(c, s)
	}
	since := time.Duration(0)
	if !s.REST.SilentSince.IsZero() {
		since = p.now.Sub(s.REST.SilentSince)
	}
	st := flink.Running
	switch {
	case p.order.Deleted || p.suspend():
		st = p.stopState()
	case s.JobManager.Waiting != "":
		return p.wait(Silent, flink.Failing, time.Second, "Run %s's JobManager has not answered for %s; its job starts anew once it works", c.Run, age(since))
	case since > 10*time.Second:
		st = flink.Unknown
	}
	return p.wait(Silent, st, time.Second, "Run %s's JobManager has not answered for %s; after %s it counts as lost", c.Run, age(since), age(silentAfter))
}

// replaceTaskManager starts what is missing of a run's TaskManagers. missing is
// false when none is; now is false while it waits before the next try.
func (p *pass) replaceTaskManager(c *RunRecord, s flink.RunObserved) (pl Plan, now, missing bool) {
	have, want := s.TaskManagersAlive(), int(c.Spec.TaskManagers())
	if have >= want || !s.JobManager.Exists() {
		return Plan{}, false, false
	}
	last := ""
	if n := len(s.TaskManagers); n > 0 {
		if t := s.TaskManagers[n-1]; t.State == flink.ProcessExited {
			last = "; the last one " + exit(t)
		}
	}
	msg := fmt.Sprintf("%d of %d TaskManagers of run %s run; starting what is missing%s", have, want, c.Run, last)
	st := flink.Failing
	if p.order.Deleted || p.suspend() {
		st = p.stopState()
	}
	at := nextReplacement(s)
	if c.LastErr != "" {
		at = c.TriedAt.Add(backoff(c.Attempts, time.Second, backoffMax))
	}
	if p.now.Before(at) {
		return p.wait(TaskManagerLost, st, time.Second, "%s; next try at %s%s", msg, clock(at), lastTry(c)), false, true
	}
	return p.act(TaskManagerLost, st, EnsureRun{Launch: p.launchOf(c)}, "%s%s", msg, lastTry(c)), true, true
}

func lastTry(c *RunRecord) string {
	if c.LastErr == "" {
		return ""
	}
	return "; last try: " + c.LastErr
}

// nextReplacement is when a run's TaskManager may be started again: at once after a
// long life, and ever later while they end soon after their start.
func nextReplacement(s flink.RunObserved) time.Time {
	ended, last := 0, time.Time{}
	for _, t := range s.TaskManagers {
		if t.State == flink.ProcessExited {
			ended++
			last = t.StartedAt
		}
	}
	if ended == 0 {
		return time.Time{}
	}
	return last.Add(backoff(ended, time.Second, time.Minute))
}

func (p *pass) inSync(c *RunRecord, s flink.RunObserved) Plan {
	j := s.REST.Job
	if j == nil {
		return p.wait(Silent, flink.Unknown, time.Second, "Run %s's JobManager does not list jobs now", c.Run)
	}
	from := "started empty"
	switch {
	case c.Intended != "":
		from = "from " + c.Intended
	case c.StartReason == adopted:
		from = adopted
	case c.StartReason != "":
		from = "started " + c.StartReason
	}
	msg := fmt.Sprintf("Running since %s, %s", when(c.PhaseSince), from)
	if !c.Recovered.IsZero() {
		msg += fmt.Sprintf("; brought back by its JobManager at %s from %s", when(c.Recovered), c.Restored)
	}
	if p.refused() {
		f := p.m.Refused
		if p.notNamed() != "" && f.Generation == c.Generation {
			return p.say(PreflightRefused, p.goingOn(), fmt.Sprintf("The restart that was asked cannot be done: %s. Run %s goes on: %s", f.Message, c.Run, msg),
				said{stalled: f.Reason, requeue: p.rhythm()})
		}
		return p.say(PreflightRefused, p.goingOn(), fmt.Sprintf("Generation %d cannot start: %s. Generation %d goes on: %s",
			f.Generation, f.Message, c.Generation, msg), said{stalled: f.Reason, requeue: p.rhythm()})
	}
	if n := len(s.REST.OtherJobs); n > 0 {
		return p.say(SeveralJobs, p.goingOn(), fmt.Sprintf("%s; beside it run %d jobs that are not of its program; cancel them, a run is for one job alone", msg, n),
			said{stalled: "SeveralJobs", requeue: slow})
	}
	if !j.AllRunning() {
		msg = fmt.Sprintf("Run %s: %d of %d tasks running, Flink says %s", c.Run, j.TasksRunning, j.TasksTotal, j.State)
		if j.Cause != nil {
			msg += "; last failure: " + j.Cause.String() + lastWords(s, *j.Cause)
		}
		return p.wait(TasksNotRunning, flink.Failing, time.Second, "%s", msg)
	}
	if j.Parallelism > 0 && j.Parallelism < j.Wanted { // a program that wants less than the spec offers is as it should be
		return p.wait(TasksNotRunning, flink.Running, time.Second, "%s; at parallelism %d of %d for want of slots", msg, j.Parallelism, j.Wanted)
	}
	return p.say(InSync, flink.Running, msg, said{ready: true, requeue: p.rhythm()})
}

// rhythm is how often a run in sync is looked at: often enough to see each checkpoint.
func (p *pass) rhythm() time.Duration {
	return min(max(p.m.Current.Spec.CheckpointInterval()/2, time.Second), slow)
}

// goingOn is the state of the current run as seen now, while something else is prepared.
func (p *pass) goingOn() flink.JobState {
	if c := p.m.Current; c != nil && c.End == nil && c.Phase == PhaseProven {
		if j := p.look(c).REST.Job; j != nil && j.AllRunning() {
			return flink.Running
		}
		return flink.Failing
	}
	return flink.Upgrading
}

// upgrade brings the current run's successor: warm beside it where there is
// room and the spec does not say otherwise.
func (p *pass) upgrade(c *RunRecord, s flink.RunObserved) Plan {
	if n := p.m.Next; n != nil {
		if p.outdatedNext(n) {
			p.m.Next = nil // its processes are a leftover now
			return p.wait(SpecChanged, p.goingOn(), quick, "The spec changed again; run %s is given up", n.Run)
		}
		return p.bringUp(n)
	}
	if p.namesStart() {
		switch pl, ok := p.checkNamed(p.goingOn()); {
		case !ok && p.refused():
			return p.inSync(c, s)
		case !ok:
			return pl
		}
	}
	sit := p.replacing(c)
	need := p.order.Spec.MemoryBytes()
	if p.order.Spec.Switch == flink.SwitchCold {
		return p.coldSwitch("spec.switch says cold")
	}
	if p.now.Before(p.m.RetryAt) {
		return p.wait(BackingOff, p.goingOn(), p.m.RetryAt.Sub(p.now), "The next run failed to come up %d times; run %s goes on; next try at %s",
			p.m.Failures, c.Run, clock(p.m.RetryAt))
	}
	if total := p.seen.Room.MemoryTotal; total > 0 && need > total {
		p.refuse(nil, "NoRoom", "spec declares %s of memory for one run, above %s of %s", bytes(need), p.limit(), bytes(total))
		return p.inSync(c, s)
	}
	if need > p.seen.Room.Free() {
		return p.coldSwitch(fmt.Sprintf("two runs do not fit: the next declares %s, free are %s", bytes(need), bytes(max(p.seen.Room.Free(), 0))))
	}
	n := p.newRun(false)
	p.m.Next = n
	pl := p.bringUp(n)
	if pl.Situation == Warming {
		pl = p.restate(pl, sit)
	}
	return pl
}

// replacing is why the current run gets a successor.
func (p *pass) replacing(c *RunRecord) Situation {
	switch {
	case c.HAFault != "" && !p.outdated(c):
		return HADataDamaged
	case c.Restart != p.order.Restart:
		return RestartAsked
	}
	return SpecChanged
}

func (p *pass) outdatedNext(n *RunRecord) bool {
	return n.Generation != p.order.Generation || p.outdated(n)
}

// coldSwitch stops the current run first; its successor is warmed after its end.
func (p *pass) coldSwitch(why string) Plan {
	c := p.m.Current
	if free := p.seen.Room.Free() + p.look(c).Memory; p.order.Spec.MemoryBytes() > free {
		return p.wait(NoRoom, p.goingOn(), slow, "Waits for room for generation %d: it declares %s, and with run %s gone %s would be free; run %s goes on",
			p.order.Generation, bytes(p.order.Spec.MemoryBytes()), c.Run, bytes(max(free, 0)), c.Run)
	}
	sit := SpecChanged
	if c.HAFault != "" {
		sit = p.replacing(c)
	}
	return p.stop(sit, flink.Upgrading, "cold, since "+why+p.toNamed())
}

// switchOver stops the old run, its successor being warm and checked.
func (p *pass) switchOver() Plan {
	return p.stop(Switching, flink.Upgrading, fmt.Sprintf("run %s is warm", p.m.Next.Run)+p.toNamed())
}
