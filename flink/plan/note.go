package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// adopted is the start reason of a run that was found without a record.
const adopted = "found without a record and adopted"

// adopt makes a record of the newest run that was found without one: an agent
// that lost its records goes on with what runs instead of starting it again.
func (p *pass) adopt() {
	if p.m.Current != nil || p.m.LastRun != 0 || len(p.seen.Runs) == 0 {
		return
	}
	s := p.seen.Runs[len(p.seen.Runs)-1]
	var last flink.Run
	live, alive := false, false
	for _, r := range p.seen.Runs {
		if r.REST.Job != nil && !flink.JobTerminal(r.REST.Job.State) {
			s, live = r, true // the one that has the live job, whatever was warmed after it
		}
		if last.Before(r.Run) {
			last = r.Run
		}
		alive = alive || r.Alive()
	}
	if p.order.Deleted && !alive {
		return // what is left of it are records of a job that is gone
	}
	p.m.Term, p.m.LastRun = last.Term, last.Run
	rec := &RunRecord{
		Run: s.Run, Spec: p.order.Spec, Generation: p.order.Generation, Restart: p.order.Restart,
		Phase: PhaseProven, Since: p.now, PhaseSince: p.now, StartReason: adopted,
	}
	if l := s.Launch; l != nil {
		rec.Spec, rec.Generation, rec.Restart = l.Spec, l.Generation, l.Restart
	}
	if !live {
		// It may have been stopped with a savepoint, which the directory of its first stop tells.
		rec.StopDir = p.stopDir(rec)
	}
	if rec.Restart == p.order.Restart {
		p.m.StartedFrom = rec.Restart // it was started by that restart: what that named is behind it
	}
	// Whether a snapshot was taken cannot be known, unless this was the first run ever and its directory tells.
	p.m.HadSnapshot = s.Run.Run > 1
	if j := s.REST.Job; j != nil && j.Restored != nil {
		rec.Restored = flink.NormalizePath(j.Restored.Path)
		rec.Intended, rec.RestoredID = rec.Restored, j.Restored.ID
		p.startedFrom(rec.Restored)
	}
	p.m.Current = rec
}

// note takes facts from the observation into memory.
func (p *pass) note() {
	c := p.m.Current
	if c == nil {
		return
	}
	s := p.look(c)
	for _, r := range []*RunRecord{c, p.m.Next} {
		if r != nil && r.End == nil {
			p.noteWaiting(r, p.look(r))
			p.noteDrift(r, p.look(r))
		}
	}
	if c.End == nil && (c.Phase == PhaseSubmitted || c.Phase == PhaseProven) {
		p.noteHA(c, s)
		p.noteCrash(c, s)
		p.noteJob(c, s)
	}
	if c.End != nil {
		p.noteEnd(c, s)
	}
}

// noteJob takes what REST says of a run's job.
func (p *pass) noteJob(c *RunRecord, s flink.RunObserved) {
	j := s.REST.Job
	switch {
	case j == nil && c.HA:
		return // it may come back by itself: judge says when not
	case j == nil:
		p.noteMissing(c, s)
		return
	}
	c.Seen = true
	p.noteSnapshot(c, *j)
	switch {
	case j.State == flink.JobFinished && c.StopTrigger != "":
		p.noteStopped(c, s)
	case j.State == flink.JobFinished:
		last := j.Latest
		p.noteFinished(c)
		if last.Kind == flink.KindSavepoint && last.Path == c.Checkpoint.Path {
			// Sources that are done leave a last checkpoint: this job was stopped with a savepoint, by somebody else.
			p.m.Snapshot = c.Checkpoint
		}
	case j.State == flink.JobCanceled && !c.CancelSince.IsZero():
		p.end(c, EndCanceled, nil)
	case j.State == flink.JobCanceled:
		p.end(c, EndLost, &flink.Cause{Message: "the job was canceled by somebody else", At: p.now})
	case j.State == flink.JobFailed:
		cause := j.Cause
		if cause == nil {
			cause = &flink.Cause{Message: "Flink gave no cause"}
		}
		p.end(c, EndFailed, cause)
	case c.StopTrigger != "":
		p.noteTrigger(c, s)
	}
	if c.End != nil {
		p.lastWord(c, s)
		return
	}
	p.noteTasks(c, j.AllRunning())
	switch reduced := j.AllRunning() && j.Parallelism > 0 && j.Parallelism < j.Wanted && int(s.REST.TaskManagers) < working(s); {
	case !reduced || c.Phase != PhaseProven:
		c.Reduced = time.Time{}
	case c.Reduced.IsZero():
		c.Reduced = p.now
	}
	if !c.HA && !j.AllRunning() && p.hung(c, s) {
		p.end(c, EndLost, hungCause())
	}
}

func hungCause() *flink.Cause {
	return &flink.Cause{Message: "TaskManagers of it live and do not report to its JobManager, and its tasks have not run for " + age(silentAfter)}
}

// hung reports whether a job's tasks do not run for want of TaskManagers whose
// processes live: nobody replaces those, and they had time to come back.
func (p *pass) hung(c *RunRecord, s flink.RunObserved) bool {
	since := c.NotRunning
	if c.Phase == PhaseSubmitted {
		since = c.PhaseSince
	}
	leaving := p.order.Deleted || c.StopTrigger != "" || !c.CancelSince.IsZero()
	if leaving || since.IsZero() || p.now.Sub(since) < silentAfter {
		return false
	}
	old := 0
	for _, t := range s.TaskManagers {
		if t.Exists() && t.Waiting == "" && !t.StartedAt.IsZero() && p.now.Sub(t.StartedAt) >= silentAfter {
			old++
		}
	}
	return int(s.REST.TaskManagers) < old
}

// noteSnapshot takes a run's newest snapshot, if that is newer than what is known and the run came from where it should.
func (p *pass) noteSnapshot(c *RunRecord, j flink.JobObserved) {
	k := j.Latest
	if c.HA && !c.Life.First && !c.Life.Proven {
		return // nor what a JobManager writes that has not said yet where it came from
	}
	if k.IsZero() || k.Path == c.Checkpoint.Path || k.Kind == flink.KindCheckpoint && k.ID < c.Checkpoint.ID {
		return
	}
	if _, ok := restoredFits(c, j); !ok && c.Phase != PhaseProven {
		return // what a run writes that came back from elsewhere is nothing to go on from
	}
	k.Run = c.Run
	c.Checkpoint = k
	if c.HA {
		c.Newest, c.Proof = max(c.Newest, k.ID), max(c.Proof, k.ID)
	}
	p.m.Snapshot, p.m.HadSnapshot = k, true
}

// noteTasks remembers since when a run's tasks run, or do not.
func (p *pass) noteTasks(c *RunRecord, all bool) {
	switch {
	case all && c.RunningAt.IsZero():
		c.RunningAt = p.now
	case all || c.Phase != PhaseProven:
		c.NotRunning = time.Time{}
		if c.Phase == PhaseProven && min(p.now.Sub(c.PhaseSince), p.now.Sub(p.m.RetryAt)) > provenFor {
			p.m.Failures, p.m.RetryAt = 0, time.Time{}
		}
	case c.NotRunning.IsZero():
		c.NotRunning = p.now
	}
}

// noteStopped records the end of a run that was stopped, once its savepoint is known.
func (p *pass) noteStopped(c *RunRecord, s flink.RunObserved) {
	t := s.REST.Trigger
	switch {
	case t != nil && t.Completed && t.Location != "":
		snap := flink.Snapshot{Path: flink.NormalizePath(t.Location), Kind: flink.KindSavepoint, CompletedAt: p.now, Run: c.Run}
		p.end(c, EndStopped, nil)
		c.End.Snapshot, c.End.Listed = snap, true
		p.m.Snapshot, p.m.HadSnapshot = snap, true
		p.m.Savepoint = SavepointRecord{}
	case t != nil && t.Completed:
		p.noteFinished(c) // a stop that fails leaves the job running: it finished by itself
	case s.REST.TriggerGone:
		p.end(c, EndStopped, nil) // FINISHED, and no path to be had over REST: its directory tells
	}
}

// noteFinished records that a job is done. Flink removes its checkpoints, and an
// older savepoint is behind what it made visible: nothing is left to go on from.
func (p *pass) noteFinished(c *RunRecord) {
	p.end(c, EndFinished, nil)
	p.m.Snapshot = flink.Snapshot{}
}

// noteTrigger records that a stop failed: the job runs on.
func (p *pass) noteTrigger(c *RunRecord, s flink.RunObserved) {
	t := s.REST.Trigger
	if t == nil || !t.Completed || t.Location != "" {
		return
	}
	p.m.Savepoint.Attempt++
	p.m.Savepoint.LastErr = t.Failure.String()
	p.m.Savepoint.RetryAt = p.now.Add(backoff(p.m.Savepoint.Attempt, backoffMin, backoffMax))
	c.StopTrigger, c.StopDir, c.StopSince = "", "", time.Time{}
}

// noteMissing records the end of a run whose JobManager or job is gone.
func (p *pass) noteMissing(c *RunRecord, s flink.RunObserved) {
	jm := s.JobManager
	switch {
	case jm.State == flink.ProcessExited:
		p.end(c, EndLost, &flink.Cause{Message: "its JobManager " + exit(jm)})
	case jm.State == flink.ProcessAbsent:
		p.end(c, EndLost, &flink.Cause{Message: "its JobManager is gone"})
	case s.REST.JobsListed && (c.Seen || c.Phase == PhaseProven):
		p.end(c, EndLost, &flink.Cause{Message: "its JobManager is there, but without the job"})
	case jm.Waiting != "": // it had its job in memory alone, and says so when it answers
	case !s.REST.Reachable && !s.REST.SilentSince.IsZero() && p.now.Sub(s.REST.SilentSince) >= silentAfter:
		p.end(c, EndLost, &flink.Cause{Message: "its JobManager has not answered for " + age(p.now.Sub(s.REST.SilentSince))})
	}
}

// noteEnd completes the record of a run that is over.
func (p *pass) noteEnd(c *RunRecord, s flink.RunObserved) {
	e := c.End
	if !s.Alive() {
		if c.HA && e.GoneAt.IsZero() {
			e.GoneAt = p.now
		}
		e.Gone = true
	}
	if e.Listed || !e.Gone {
		return
	}
	if p.notePointers(c, s); e.Listed {
		return
	}
	n := p.seen.Newest
	if n != nil && n.Run == c.Run && n.Err != "" && c.Spec.StateStorage.Root == "" {
		e.Listed = true // nowhere to read, since it had nowhere to keep anything
		return
	}
	if n == nil || n.Run != c.Run || n.Err != "" || c.HAFault != "" || c.HA && p.now.Sub(e.GoneAt) < readAfter {
		return
	}
	found := n.Snapshot
	if c.HA && e.Kind == EndStopped && found.Kind != flink.KindSavepoint {
		return // its savepoint is newer than any checkpoint
	}
	if c.HA && found.Kind == flink.KindCheckpoint && found.ID <= c.RestoredID {
		found = flink.Snapshot{} // what it came from stands on its record too
	}
	switch {
	case e.Kind == EndStopped && found.IsZero():
		p.noteFinished(c) // FINISHED, and no stop of ours left a savepoint: it was done by itself
		c.End.Gone = true
		return
	case lost(c, found):
		return // says so in ended
	}
	e.Listed = true
	if found.IsZero() {
		return
	}
	found.Run = c.Run
	e.Snapshot = found
	p.m.Snapshot, p.m.HadSnapshot = found, true
}

// lost reports whether a dead run's directory holds less than was seen to be completed.
func lost(c *RunRecord, found flink.Snapshot) bool {
	seen := c.Checkpoint
	if seen.IsZero() || seen.Kind == flink.KindSavepoint || found.Kind == flink.KindSavepoint {
		return false
	}
	return found.IsZero() || found.ID < seen.ID
}

func (p *pass) end(c *RunRecord, k EndKind, cause *flink.Cause) {
	c.End = &End{Kind: k, At: p.now, Cause: cause, Listed: k == EndFinished || k == EndAbandoned}
}

// Note takes an act's answer into memory. Called by the one who acted, with the
// memory that Next gave, before the next look.
func Note(m Memory, a Action, out Outcome, now time.Time) Memory {
	m = m.clone()
	r := m.of(a)
	if r == nil {
		return m
	}
	r.Attempts++
	r.TriedAt, r.LastErr, r.Denied = now, out.Err, out.Refusal
	if out.Err == "" {
		r.Denied = nil
		if _, ok := a.(Preflight); ok && r.Phase == PhaseWarming {
			r.Phase, r.PhaseSince, r.Attempts = PhaseChecked, now, 0
		}
		if _, ok := a.(EnsureRun); ok {
			r.Attempts = 0
		}
	}
	return m
}

// of finds the record that an action is about.
func (m Memory) of(a Action) *RunRecord {
	var run flink.Run
	switch a := a.(type) {
	case EnsureRun:
		run = a.Launch.Run
	case Preflight:
		run = a.Run
	case Submit:
		run = a.Run
	default:
		return nil
	}
	for _, r := range []*RunRecord{m.Current, m.Next} {
		if r != nil && r.Run == run {
			return r
		}
	}
	return nil
}

// restoredFits reports whether Flink's word on where a job came from fits the
// intent: the intended path, or a newer checkpoint of the same run. why says what does not fit.
func restoredFits(c *RunRecord, j flink.JobObserved) (why string, ok bool) {
	if j.Restored == nil {
		if c.Intended == "" {
			return "", true
		}
		return fmt.Sprintf("it was meant to come back from %s and started empty", c.Intended), false
	}
	got := flink.NormalizePath(j.Restored.Path)
	if got == flink.NormalizePath(c.Intended) || strings.Contains(got, "/"+c.Run.JobID()+"/chk-") {
		return "", true
	}
	if c.Intended == "" {
		return fmt.Sprintf("it was meant to start empty and came back from %s", got), false
	}
	return fmt.Sprintf("it was meant to come back from %s and came back from %s", c.Intended, got), false
}
