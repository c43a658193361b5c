package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// begin is the first start: no run of this job was ever made.
func (p *pass) begin() Plan {
	if p.suspend() {
		return p.rest(SuspendedInSync, flink.Suspended, "Suspended; it never ran")
	}
	if p.refused() {
		return p.impossible()
	}
	path, why, pl, ok := p.startPath()
	if !ok {
		return pl
	}
	return p.launch(path, why, false)
}

// launch makes the next run and brings it up, if there is room for it.
func (p *pass) launch(path, why string, cold bool) Plan {
	spec, _ := p.wanted()
	if pl, ok := p.room(spec.MemoryBytes(), 0); !ok {
		return pl
	}
	r := p.newRun(cold)
	p.intend(r, path, why)
	p.m.Previous, p.m.Current, p.m.Next = nil, r, nil
	return p.bringUp(r)
}

// intend records where a run starts from.
func (p *pass) intend(r *RunRecord, path, why string) {
	r.Intended, r.StartReason = path, why
	p.startNamed(r)
}

// room reports whether need bytes of declared memory can be had, counting what
// will be given back. If not, the plan says which limit stands against it.
func (p *pass) room(need, given int64) (Plan, bool) {
	total := p.seen.Room.MemoryTotal
	switch {
	case total > 0 && need > total:
		p.refuse(nil, "NoRoom", "spec declares %s of memory for one run, above %s of %s", bytes(need), p.limit(), bytes(total))
		return p.impossible(), false
	case need > p.seen.Room.Free()+given:
		return p.wait(NoRoom, flink.Pending, slow, "Waits for room: one run declares %s of memory, and of %s of %s only %s is free",
			bytes(need), p.limit(), bytes(total), bytes(max(p.seen.Room.Free()+given, 0))), false
	}
	return Plan{}, true
}

// limit is what sets the place's room, for people.
func (p *pass) limit() string { return or(p.seen.Room.Limit, "the agent's capacity.memory") }

// startPath decides where the next run starts from. ok is false when that is
// not known yet, or must be asked of a person: pl says so.
func (p *pass) startPath() (path, why string, pl Plan, ok bool) {
	c := p.m.Current
	spec, _ := p.wanted()
	stateless := !spec.Stateful()
	switch {
	case p.namesStart() && p.m.Next == nil:
		if pl, ok := p.checkNamed(flink.Starting); !ok {
			if p.refused() {
				pl = p.impossible()
			}
			return "", "", pl, false
		}
		fallthrough
	case p.namesStart():
		return flink.NormalizePath(p.order.RestartFrom), "from " + p.order.RestartFrom + ", as the restart says", pl, true
	case p.fresh():
		return "", "empty, as upgradeMode stateless says", pl, true
	case stateless && c != nil && c.Phase != PhaseProven && c.Intended == "" && p.m.HadSnapshot && p.m.Snapshot.Run != c.Run:
		return "", c.StartReason, pl, true // the user's word stands; only the attempt failed
	case !p.m.Snapshot.IsZero():
		return p.m.Snapshot.Path, fmt.Sprintf("from %s %s", p.m.Snapshot.Kind, p.m.Snapshot.Path), pl, true
	case p.m.HadSnapshot && stateless:
		return "", "empty, since upgradeMode is stateless and no snapshot of it is left", pl, true
	case p.m.HadSnapshot:
		p.refuse(nil, "SnapshotMissing", "the job had state, and no snapshot of its newest state is left; it starts empty only by a changed spec with upgradeMode stateless")
		return "", "", p.impossible(), false
	case spec.StartFrom.Snapshot != "":
		from := spec.StartFrom.Snapshot
		if pl, ok := p.checkSnapshot(from); !ok {
			return "", "", pl, false
		}
		return flink.NormalizePath(from), "from spec.startFrom.snapshot " + from, pl, true
	}
	return "", "empty, since no snapshot of it was ever taken", pl, true
}

// checkSnapshot asks whether a path named by the spec exists. A place that
// cannot be looked at from here is left to Flink.
func (p *pass) checkSnapshot(path string) (Plan, bool) {
	k := p.seen.SnapshotCheck
	switch {
	case k == nil || k.Path != path:
		return p.wait(CheckingSnapshot, flink.Starting, quick, "Looks for the snapshot %s", path), false
	case k.Err == "" && !k.Exists:
		p.refuse(nil, "SnapshotMissing", "spec.startFrom.snapshot %s: there is no complete snapshot at that path", path)
		return p.impossible(), false
	}
	return Plan{}, true
}

// impossible says why nothing runs and what would change that.
func (p *pass) impossible() Plan {
	f := p.m.Refused
	p.m.Next = nil
	if c := p.m.Current; c != nil && p.look(c).Alive() {
		return p.act(StartImpossible, flink.Failed, EndRun{Run: c.Run}, "Cannot start: %s", f.Message)
	}
	return p.say(StartImpossible, flink.Failed, fmt.Sprintf("Cannot start: %s. Nothing runs until the spec changes or `restart` is asked", f.Message),
		said{stalled: f.Reason, requeue: time.Minute})
}

// bringUp warms a run's Flink cluster, checks its program, and hands in its job
// when it is the current run.
func (p *pass) bringUp(r *RunRecord) Plan {
	first := r == p.m.Current
	if first && (p.suspend() || p.outdated(r)) {
		return p.abandon(r, "the spec changed while it was warming")
	}
	if first && p.wordGone(r) {
		return p.abandon(r, "it was to start empty, and upgradeMode is not stateless any more")
	}
	if r.Denied != nil {
		return p.denied(r)
	}
	if r.Phase == PhaseWarming && min(p.now.Sub(r.PhaseSince), p.now.Sub(r.WorksSince)) > warmLimit && (!first || r.Waiting.IsZero()) {
		return p.notReady(r)
	}
	if pl, ok := p.warm(r); !ok {
		return pl
	}
	if r.Phase == PhaseWarming {
		return p.check(r)
	}
	if !first {
		return p.switchOver()
	}
	return p.submit(r)
}

// notReady gives up a run that did not get ready in time.
func (p *pass) notReady(r *RunRecord) Plan {
	words := waiting(p.look(r))
	switch {
	case len(words) == 0:
		return p.giveUp(r, "it was not ready within "+age(warmLimit))
	case r != p.m.Current && noPlace(words[0]) && asLarge(p.m.Current.Spec, r.Spec):
		p.m.Next = nil
		return p.coldSwitch("there is no room for two runs: " + bounded(words[0]))
	}
	return p.giveUp(r, "it was not ready within "+age(warmLimit)+": "+bounded(words[0]))
}

// noPlace reports whether a process waits for room that its run's predecessor may have.
func noPlace(words string) bool {
	reason := reasonOf(words)
	return reason == "Unschedulable" || reason == "Quota"
}

// asLarge reports whether a run of the first spec takes the room that one of the second needs, process by process.
func asLarge(has, needs flink.Spec) bool {
	return has.TaskManagers() >= needs.TaskManagers() &&
		has.JobManager == needs.JobManager && has.TaskManager == needs.TaskManager && has.MemoryBytes() >= needs.MemoryBytes()
}

// state is what a person should see while a run is brought up.
func (p *pass) state(r *RunRecord) flink.JobState {
	switch {
	case r != p.m.Current:
		return p.goingOn() // the old run still works
	case p.m.Failures > 0 && p.m.HadSnapshot:
		return flink.Failing
	case r.Run.Run > 1 && r.Intended != "":
		return flink.Upgrading
	}
	return flink.Starting
}

// warm brings up what is missing of a run's cluster. ok when it is complete.
func (p *pass) warm(r *RunRecord) (Plan, bool) {
	s := p.look(r)
	want := int(r.Spec.TaskManagers())
	ensure := EnsureRun{Launch: p.launchOf(r)}
	jm := s.JobManager
	switch {
	case jm.State == flink.ProcessExited && r.Exits >= maxExits:
		return p.giveUp(r, "its JobManager "+exit(jm)), false
	case jm.State == flink.ProcessAbsent, jm.State == flink.ProcessExited, s.TaskManagersAlive() < want:
		if r.LastErr != "" && p.now.Before(r.TriedAt.Add(backoff(r.Attempts, time.Second, backoffMin))) {
			return p.wait(Warming, p.state(r), time.Second, "Bringing up run %s failed: %s; trying again", r.Run, r.LastErr), false
		}
		if jm.Exists() && p.now.Before(nextReplacement(s)) {
			return p.wait(Warming, p.state(r), time.Second, "Run %s's TaskManagers do not stay up; starting them again at %s", r.Run, clock(nextReplacement(s))), false
		}
		if jm.State == flink.ProcessExited {
			r.Exits++
		}
		return p.act(Warming, p.state(r), ensure, "Bringing up Flink %s for run %s, %s", r.Spec.FlinkVersion, r.Run, p.reason(r)), false
	}
	if s.JarMissing != "" && jm.Waiting != "" {
		r.Denied = &flink.Refusal{Kind: flink.RefusedJar, Cause: flink.Cause{Message: bounded(s.JarMissing)}}
		return p.denied(r), false
	}
	if _, now := p.drifted(r, s); now {
		return p.putBack(r, s), false
	}
	if !s.REST.Reachable || !s.REST.JobsListed || int(s.REST.TaskManagers) < want {
		return p.wait(Warming, p.state(r), quick, "Flink %s for run %s is coming up, %d of %d TaskManagers registered, %s",
			r.Spec.FlinkVersion, r.Run, s.REST.TaskManagers, want, p.reason(r)), false
	}
	return Plan{}, true
}

func (p *pass) reason(r *RunRecord) string {
	switch {
	case r != p.m.Current:
		return fmt.Sprintf("for generation %d; run %s goes on meanwhile", r.Generation, p.m.Current.Run)
	case r.StartReason == "":
		return "starting"
	}
	return "to start " + r.StartReason
}

// check runs the preflight.
func (p *pass) check(r *RunRecord) Plan {
	if from := r.Spec.StartFrom.Snapshot; r != p.m.Current && from != "" && from != p.m.Current.Spec.StartFrom.Snapshot {
		// A path that the edit names anew must exist, although only a first start uses it.
		if pl, ok := p.checkSnapshot(from); !ok {
			return p.preflightRefused(r, pl)
		}
	}
	if r.LastErr != "" && r.Attempts >= maxAttempts {
		return p.giveUp(r, "its program could not be checked: "+r.LastErr)
	}
	return p.act(Checking, p.state(r), Preflight{Run: r.Run, Program: flink.ProgramOf(r.Spec)},
		"Checks the program of run %s, %s", r.Run, p.reason(r))
}

// denied handles an act's definite no.
func (p *pass) denied(r *RunRecord) Plan {
	d := r.Denied
	if d.Kind == flink.RefusedNoRoom {
		if r == p.m.Current {
			p.m.RetryAt = p.now.Add(backoffMin)
			return p.abandon(r, "there is no room for it now: "+d.Cause.String())
		}
		p.m.Next = nil
		return p.coldSwitch("there is no room for two runs")
	}
	if !d.Permanent() {
		return p.giveUp(r, d.Cause.String())
	}
	msg := p.sentence(d.Cause, failure.AtStart)
	p.refuse(r, string(d.Kind), "%s", msg)
	if r != p.m.Current {
		p.m.Next = nil
		return p.keep()
	}
	return p.abandon(r, msg)
}

// preflightRefused drops the next run after its spec was refused; the old run goes on.
func (p *pass) preflightRefused(r *RunRecord, pending Plan) Plan {
	if p.m.Refused == nil || r == p.m.Current {
		return pending
	}
	p.m.Next = nil
	return p.keep()
}

// giveUp counts a run that did not come up and abandons it. After some of them a
// spec that never ran is not tried again; one that did is, with back-off, for ever.
func (p *pass) giveUp(r *RunRecord, why string) Plan {
	p.failedStart()
	if p.m.Failures >= maxStarts && !r.Good {
		p.refuse(r, "StartFailed", "%d starts failed: %s", p.m.Failures, why)
	}
	return p.abandon(r, why)
}

// abandon gives up a run that never got its job.
func (p *pass) abandon(r *RunRecord, why string) Plan {
	if r != p.m.Current {
		p.m.Next = nil
		return p.wait(Switching, p.goingOn(), quick, "Gave up run %s: %s", r.Run, why)
	}
	p.takeBackNamed(r)
	p.end(r, EndAbandoned, &flink.Cause{Message: why})
	if r.End.Gone = !p.look(r).Alive(); r.End.Gone {
		return p.wait(Ended, p.endState(), quick, "Gave up run %s: %s", r.Run, why)
	}
	return p.act(Ended, p.endState(), EndRun{Run: r.Run}, "Gave up run %s: %s", r.Run, why)
}

// submit hands in the job of the current run. The phase is on record before the act.
func (p *pass) submit(r *RunRecord) Plan {
	if r.Phase != PhaseSubmitted {
		r.Phase, r.PhaseSince, r.Attempts, r.LastErr = PhaseSubmitted, p.now, 0, ""
	}
	return p.act(Submitting, p.state(r), Submit{Run: r.Run, Submission: flink.Submission{
		Program: flink.ProgramOf(r.Spec), JobID: r.Run.JobID(), SnapshotPath: r.Intended,
	}}, "Hands in the job of run %s, %s", r.Run, p.reason(r))
}

// prove waits until the current run's job runs and has proven where it came from.
func (p *pass) prove() Plan {
	c := p.m.Current
	s := p.look(c)
	j := s.REST.Job
	if pl, ok := p.recovering(c, s); ok {
		return pl
	}
	switch {
	case len(s.REST.OtherJobs) > 0:
		return p.severalJobs(c)
	case j != nil && c.Denied != nil && halfProgram(*c.Denied):
		// Of a program with two execute() calls the first has been started.
		p.end(c, EndCanceled, &c.Denied.Cause)
		p.refuse(c, string(c.Denied.Kind), "%s", p.sentence(c.Denied.Cause, failure.AtStart))
		return p.impossible()
	case j == nil:
		return p.missingYet(c, s)
	case j.Restored == nil && j.AllRunning() && c.Intended != "" && p.now.Sub(c.RunningAt) < proofLimit:
		return p.wait(Starting, p.state(c), quick, "Run %s runs; waits for Flink to say where it came from, %s", c.Run, p.reason(c))
	case j.Restored != nil || j.AllRunning():
		if why, ok := restoredFits(c, *j); !ok {
			return p.restoredWrong(c, why)
		}
		if j.Restored != nil {
			c.Restored, c.RestoredID = flink.NormalizePath(j.Restored.Path), j.Restored.ID
			c.Life.Proven = true
		}
	}
	if pl, ok := p.interrupted(c); ok {
		return pl
	}
	if !j.AllRunning() {
		return p.deploying(c, s)
	}
	p.proven(c)
	return p.keep()
}

// proven records that the current run works and came from where it should. The
// old run goes now, and what the job starts from next is this run's or what it came from.
func (p *pass) proven(c *RunRecord) {
	c.Phase, c.PhaseSince, c.Attempts, c.LastErr, c.Denied, c.NotRunning = PhaseProven, p.now, 0, "", nil, time.Time{}
	c.Good = true
	c.Life.Proven = true
	p.m.Previous = nil
	switch {
	case p.m.Snapshot.Run == c.Run && !p.m.Snapshot.IsZero():
	case c.Intended == "":
		p.m.Snapshot = flink.Snapshot{}
	case p.m.Snapshot.Path != c.Intended:
		p.startedFrom(c.Intended)
	}
}

// startedFrom takes the snapshot that a run came from: the newest that is known until it writes its own.
func (p *pass) startedFrom(path string) {
	kind := flink.KindSavepoint
	id, ok := flink.CheckpointID(path)
	if ok {
		kind = flink.KindCheckpoint
	}
	p.m.Snapshot, p.m.HadSnapshot = flink.Snapshot{Path: path, Kind: kind, ID: id}, true
}

// severalJobs stops a run whose program started more than one job. What its own job completed is kept.
func (p *pass) severalJobs(c *RunRecord) Plan {
	p.refuse(c, "SeveralJobs", "the program starts more than one job; one execute() per program is supported")
	p.end(c, EndCanceled, &flink.Cause{Message: "its program starts more than one job"})
	return p.impossible()
}

// halfProgram reports whether a refused hand-in may have started a part of the
// program. Any other refusal counts for nothing once the job is there.
func halfProgram(d flink.Refusal) bool {
	switch failure.ClassifyCause(&d.Cause, failure.AtStart).ID {
	case "many-executes", "needs-result":
		return d.Kind == flink.RefusedProgram
	}
	return false
}

// interrupted handles a wish that came while the run was still starting: what
// is not running yet cannot be saved, so it is ended and its directory read.
func (p *pass) interrupted(c *RunRecord) (Plan, bool) {
	s := p.look(c)
	j := s.REST.Job
	switch {
	case !c.CancelSince.IsZero():
		return p.canceling(c, s), true
	case j.AllRunning() || !p.suspend() && !p.outdated(c) || p.now.Sub(c.PhaseSince) < stuckLimit:
		return Plan{}, false
	}
	return p.cancel(c, "Ends run %s before it came up: something else is wanted now", c.Run), true
}

func (p *pass) missingYet(c *RunRecord, s flink.RunObserved) Plan {
	switch {
	case c.Denied != nil && s.REST.JobsListed:
		if d := *c.Denied; d.Permanent() {
			p.end(c, EndAbandoned, &d.Cause)
			p.refuse(c, string(d.Kind), "%s", p.sentence(d.Cause, failure.AtStart))
			return p.impossible()
		}
		return p.giveUp(c, c.Denied.Cause.String())
	case !s.REST.JobsListed:
		return p.wait(Starting, p.state(c), quick, "Waits for run %s's JobManager to answer", c.Run)
	case c.HA && s.HA != nil && s.HA.Err == "" && s.HA.Graph:
		return p.wait(Starting, p.state(c), quick, "Run %s's job is on record; waits for its JobManager to start it", c.Run)
	case p.suspend() || p.outdated(c):
		return p.abandon(c, "something else is wanted now, and its job was not there yet")
	case p.wordGone(c):
		return p.abandon(c, "it was to start empty, and upgradeMode is not stateless any more; its job was not there yet")
	case c.Attempts > maxAttempts && c.HA && c.LastErr == "":
		// A job that had this id before is taken well too, and not started: nobody saw what it left.
		p.end(c, EndLost, &flink.Cause{Message: "its JobManager took the job well and has none: it ended while nobody looked"})
		return p.ended()
	case c.Attempts > maxAttempts:
		return p.giveUp(c, "its JobManager does not take the job: "+or(c.LastErr, "it does not appear"))
	case c.Attempts > 0 && p.now.Sub(c.PhaseSince) < time.Duration(c.Attempts)*time.Second:
		return p.wait(Starting, p.state(c), quick, "Waits for run %s's job to appear", c.Run)
	}
	return p.submit(c) // the id makes a second time harmless
}

func (p *pass) deploying(c *RunRecord, s flink.RunObserved) Plan {
	if pl, _, missing := p.replaceTaskManager(c, s); missing {
		return pl
	}
	j := s.REST.Job
	if p.inVain(c, *j) {
		p.failedStart()
		return p.cancel(c, "Ends run %s, whose job does not come up since %s, for another one with fresh processes: %s", c.Run, age(p.now.Sub(c.PhaseSince)), bounded(j.Cause.String()))
	}
	msg := fmt.Sprintf("Run %s is %s, %d of %d tasks running, %s", c.Run, j.State, j.TasksRunning, j.TasksTotal, p.reason(c))
	if j.State == flink.JobCreated && p.now.Sub(c.PhaseSince) > stuckLimit {
		msg = fmt.Sprintf("Run %s waits for slots since %s: %d of %d free", c.Run, age(p.now.Sub(c.PhaseSince)), s.REST.SlotsFree, s.REST.SlotsTotal)
	}
	if j.Cause != nil {
		msg += "; last failure: " + j.Cause.String() + lastWords(s, *j.Cause)
	}
	return p.wait(Starting, p.state(c), quick, "%s", msg)
}

// inVain reports whether a job that never ran fails again and again inside Flink, for longer than the starts before it
// were given. Its processes may have been started with what does not hold any more: a container keeps the credentials of
// its start.
func (p *pass) inVain(c *RunRecord, j flink.JobObserved) bool {
	fails := j.State == flink.JobRestarting || j.State == flink.JobFailing
	return c.HA && fails && j.Cause != nil && c.RunningAt.IsZero() && p.now.Sub(c.PhaseSince) >= backoff(p.m.Failures+1, vainFor, vainMost)
}

// restoredWrong stops a run that came back from elsewhere than intended (L6) and asks.
func (p *pass) restoredWrong(c *RunRecord, why string) Plan {
	p.refuse(c, "RestoredWrong", "run %s was stopped: %s", c.Run, why)
	p.end(c, EndAbandoned, &flink.Cause{Message: why})
	return p.act(RestoredWrong, flink.Failed, EndRun{Run: c.Run}, "Stops run %s: %s", c.Run, why)
}

func (p *pass) sentence(c flink.Cause, where failure.Where) string {
	v := failure.ClassifyCause(&c, where)
	if v.Sentence == "" {
		return c.String()
	}
	return v.Sentence + " (" + c.String() + ")"
}

// bytes is an amount of memory for people.
func bytes(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGi", n>>30)
	case n >= 10<<30:
		return fmt.Sprintf("%.1fGi", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%dMi", n>>20)
}
