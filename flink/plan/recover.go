package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// judge ends the current run if it has high availability and yet will not come back.
func (p *pass) judge() {
	c := p.m.Current
	if c == nil || !c.HA || c.End != nil || c.Phase != PhaseSubmitted && c.Phase != PhaseProven {
		return
	}
	s := p.look(c)
	if j := s.REST.Job; j != nil {
		if !j.AllRunning() && p.hung(c, s) {
			p.end(c, EndLost, hungCause())
		}
		return
	}
	why := p.over(c, s)
	if why == "" {
		return
	}
	if had := c.Seen || c.Phase == PhaseProven; had && c.HAFault == "" && (s.HA == nil || !s.HA.Graph) {
		c.HAFault = faultUnseen
	}
	p.end(c, EndLost, &flink.Cause{Message: why})
}

// over says why a run whose job is not to be seen is over; empty: it is not.
func (p *pass) over(c *RunRecord, s flink.RunObserved) string {
	var h flink.HAData // of a run of which nothing is left, nothing is on record
	if s.HA != nil {
		h = *s.HA
	}
	had := c.Seen || c.Phase == PhaseProven
	absent := time.Duration(0)
	if !c.Absent.IsZero() {
		absent = p.now.Sub(c.Absent)
	}
	switch {
	case h.Err != "":
		return ""
	case s.REST.OtherKeys && p.silence(s) >= keysAfter:
		return "its REST has other keys than the agent: the agent's Secret of keys was deleted or replaced, and nothing of this run can be changed any more"
	case c.HAFault == faultData && (!s.JobManager.Exists() || s.REST.JobsListed || !p.renewed(h, leaseQuick)):
		why := "its high availability data was deleted or damaged, and its JobManager does not have the job any more"
		if c.Crash.Times > 1 {
			why += "; it " + p.crashWords(c, s)
		}
		return why
	case !s.JobManager.Exists() && !h.Graph:
		return "its JobManager is gone, and its high availability data too"
	case s.REST.JobsListed && had && !h.Graph && absent >= goneFor:
		return "its JobManager is there without the job, and nothing of it is on record: it ended while nobody looked, or its high availability data was deleted or damaged"
	case s.REST.JobsListed && had && absent >= comesBack:
		return "its JobManager did not bring the job back within " + age(comesBack)
	case p.crashed(c, s):
		return "its JobManager " + p.crashWords(c, s)
	case !s.REST.Reachable && p.silence(s) >= silentAfter && p.changed(c) && !p.renewed(h, leaseDead):
		return "its JobManager has not answered for " + age(p.silence(s)) + ", and something else is wanted now"
	case !s.REST.Reachable && p.idle(c, s) >= hungAfter && !p.renewed(h, leaseDead):
		return "its JobManager has not answered for " + age(p.silence(s)) + " and does not renew its lease"
	}
	return ""
}

// changed reports whether something else than the current run as it is is wanted.
func (p *pass) changed(c *RunRecord) bool { return p.order.Deleted || p.suspend() || p.outdated(c) }

// idle is how long a run's JobManager has not answered although it could: it
// was not started lately, and nothing kept it from working.
func (p *pass) idle(c *RunRecord, s flink.RunObserved) time.Duration {
	since := s.REST.SilentSince
	for _, t := range []time.Time{s.JobManager.StartedAt, c.WorksSince} {
		if t.After(since) {
			since = t
		}
	}
	if s.REST.SilentSince.IsZero() || s.JobManager.Waiting != "" {
		return 0
	}
	return p.now.Sub(since)
}

// silence is how long a run's REST has not answered.
func (p *pass) silence(s flink.RunObserved) time.Duration {
	if s.REST.SilentSince.IsZero() {
		return 0
	}
	return p.now.Sub(s.REST.SilentSince)
}

// renewed reports whether a run's JobManager renewed its lease within d.
func (p *pass) renewed(h flink.HAData, d time.Duration) bool {
	return !h.Renewed.IsZero() && p.now.Sub(h.Renewed) < d
}

// recovering looks after a run that heals itself, or that only needs its objects
// back. ok is false when nothing stands against the usual.
func (p *pass) recovering(c *RunRecord, s flink.RunObserved) (pl Plan, ok bool) {
	if is, now := p.drifted(c, s); now || is && !s.JobManager.Exists() {
		return p.putBack(c, s), true
	}
	if !c.HA {
		return Plan{}, false
	}
	j := s.REST.Job
	switch {
	case j == nil && s.REST.JobsListed && (c.Seen || c.Phase == PhaseProven):
		return p.comingBack(c, s), true
	case j == nil && c.Phase == PhaseProven && c.Crash.Times > 1:
		return p.crashing(c, s), true
	case j != nil && !c.Life.First && !c.Life.Proven && !c.Life.Start.IsZero():
		return p.proveLife(c, *j)
	}
	return Plan{}, false
}

// comingBack waits for a job that its JobManager brings back by itself.
func (p *pass) comingBack(c *RunRecord, s flink.RunObserved) Plan {
	took := time.Duration(0)
	if !c.Absent.IsZero() {
		took = p.now.Sub(c.Absent)
	}
	stalled := ""
	if took > troubled {
		stalled = "RecoveryLate"
	}
	switch h := s.HA; {
	case h == nil:
	case h.Err != "":
		return p.say(Recovering, p.healing(), fmt.Sprintf("Run %s's JobManager is there without the job, for %s now, and its high availability data cannot be seen: %s",
			c.Run, age(took), bounded(h.Err)), said{stalled: stalled, requeue: time.Second})
	case !h.Graph:
		return p.wait(Recovering, p.healing(), time.Second, "Run %s's JobManager is there without the job, for %s now, and nothing of it is on record", c.Run, age(took))
	}
	return p.say(Recovering, p.healing(), fmt.Sprintf("Run %s's JobManager started again and brings the job back by itself, for %s now, from %s",
		c.Run, age(took), p.lastSeen(c)), said{stalled: stalled, requeue: time.Second})
}

// proveLife waits until a job that its JobManager brought back has proven where it came from.
func (p *pass) proveLife(c *RunRecord, j flink.JobObserved) (Plan, bool) {
	late := !c.Life.RunningAt.IsZero() && p.now.Sub(c.Life.RunningAt) >= proofLimit
	if j.Restored == nil && !late {
		return p.wait(Recovering, p.healing(), quick, "Run %s's JobManager brings the job back: Flink says %s, %d of %d tasks running; waits for its word on where it came from",
			c.Run, j.State, j.TasksRunning, j.TasksTotal), true
	}
	if why, ok := lifeFits(c, j); !ok {
		c.HAFault = faultRestored
		p.end(c, EndLost, &flink.Cause{Message: why})
		return p.act(RestoredWrong, flink.Failed, EndRun{Run: c.Run}, "Stops run %s: %s", c.Run, why), true
	}
	c.Life.Proven, c.Recovered = true, p.now
	if j.Restored != nil {
		c.Restored = flink.NormalizePath(j.Restored.Path)
	}
	if n, is := ownCheckpoint(c, j); is {
		p.takePointer(c, n)
		c.Proof = max(c.Proof, n)
	}
	return Plan{}, false
}

// healing is the state of a run that is being brought back.
func (p *pass) healing() flink.JobState {
	if p.order.Deleted || p.suspend() {
		return p.stopState()
	}
	return flink.Failing
}

// lastSeen is where the current run's job would come back from, as far as is known.
func (p *pass) lastSeen(c *RunRecord) string {
	switch {
	case !c.Checkpoint.IsZero():
		return c.Checkpoint.Path
	case c.Intended != "":
		return c.Intended
	}
	return "nothing, since no checkpoint of it was seen"
}

// damaged replaces a run whose high availability data is gone or damaged while its job still
// runs: a JobManager that starts again would start it empty, or not at all. At
// once the first time, and ever later when it happens again.
func (p *pass) damaged(c *RunRecord, s flink.RunObserved) Plan {
	if !c.Replaced {
		c.Replaced = true
		if p.failedStart(); p.m.Failures == 1 {
			p.m.RetryAt = time.Time{}
		}
	}
	if p.now.Before(p.m.RetryAt) {
		return p.wait(HADataDamaged, p.goingOn(), p.m.RetryAt.Sub(p.now), "Run %s's high availability data was deleted or damaged, and those of runs before it; replaces it at %s",
			c.Run, clock(p.m.RetryAt))
	}
	if p.refused() {
		return p.stop(HADataDamaged, p.goingOn(), damagedWords)
	}
	return p.upgrade(c, s)
}

const damagedWords = "to replace it, since its high availability data was deleted or damaged: a JobManager that starts again would start the job empty, or not at all"

// silentHA says why a run with high availability is left alone while its REST is silent.
func (p *pass) silentHA(c *RunRecord, s flink.RunObserved) Plan {
	silence := p.silence(s)
	st := flink.Running
	switch {
	case p.order.Deleted || p.suspend():
		st = p.stopState()
	case s.JobManager.Waiting != "":
		st = flink.Failing
	case !c.Life.Start.IsZero() && s.JobManager.StartedAt.After(c.Life.Start):
		st = flink.Failing // it has not brought the job back yet
	case silence > 10*time.Second:
		st = flink.Unknown
	}
	restarts := ""
	if n := s.JobManager.Restarts; n > 0 {
		restarts = ", started again " + times(n)
	}
	var h flink.HAData
	if s.HA != nil {
		h = *s.HA
	}
	stalled := ""
	msg := fmt.Sprintf("Run %s's JobManager has not answered for %s%s", c.Run, age(silence), restarts)
	switch {
	case s.REST.OtherKeys:
		msg += fmt.Sprintf("; it has other keys than the agent, whose Secret of keys was deleted or replaced: if that stays, after %s it is replaced by a run with new keys, from its newest checkpoint",
			age(keysAfter))
	case s.JobManager.Waiting != "":
		msg += "; once it works it goes on by itself from " + p.lastSeen(c)
	case h.Err != "":
		msg += "; its high availability data cannot be seen: " + h.Err
	case silence < leaseQuick:
	case p.renewed(h, leaseQuick):
		msg += "; REST cannot be reached from the agent; the JobManager renews its lease, so it is left alone"
		if silence > time.Minute {
			stalled = "RESTUnreachable"
		}
	case h.Renewed.IsZero():
		msg += fmt.Sprintf("; it holds no lease; if nothing else explains it, it counts as hung after %s", age(hungAfter))
	default:
		msg += fmt.Sprintf("; it last renewed its lease %s ago; if nothing else explains it, it counts as hung after %s", age(p.now.Sub(h.Renewed)), age(hungAfter))
	}
	return p.say(Silent, st, msg, said{stalled: stalled, requeue: time.Second})
}
