package plan_test

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// act does one action in the world, as the agent's act does.
func (w *world) act(a plan.Action) plan.Outcome {
	switch a := a.(type) {
	case plan.EnsureRun:
		return w.ensure(a.Launch)
	case plan.Preflight:
		if f := w.fault.preflight; f != nil {
			w.fault.preflight = nil
			return plan.Outcome{Err: f.Error(), Refusal: f}
		}
		return w.at(a.Run, func(*run) error { return nil })
	case plan.Submit:
		return w.submit(a)
	case plan.StopJob:
		return w.at(a.Run, func(r *run) error { return w.stop(r, a) })
	case plan.CancelJob:
		return w.at(a.Run, func(r *run) error {
			if r.job != nil && !flink.JobTerminal(r.job.state) && r.job.state != flink.JobCancelling {
				r.job.become(flink.JobCancelling, w.now)
				w.failTriggers(r, "the job is being canceled")
			}
			return nil
		})
	case plan.EndRun:
		if r := w.find(a.Run); r != nil && !w.fault.undead {
			w.endRun(r)
		}
		return plan.Outcome{}
	}
	panic(fmt.Sprintf("no such action: %T", a))
}

// at does something at a run's REST, if that answers.
func (w *world) at(id flink.Run, do func(*run) error) plan.Outcome {
	r := w.find(id)
	if r == nil || !r.reachable(w.now) {
		return plan.Outcome{Err: "connection refused"}
	}
	if err := do(r); err != nil {
		return plan.Outcome{Err: err.Error()}
	}
	return plan.Outcome{}
}

func (w *world) killAll(r *run) {
	w.killJM(r)
	for _, t := range r.tms {
		if t.lives() {
			if r.kube != nil {
				t.start = w.now
				continue
			}
			t.dead, t.code = true, 143
		}
	}
}

func (w *world) killJM(r *run) {
	if r.jm.lives() {
		r.jm.dead, r.jm.code = true, 137
	}
	r.job, r.others, r.triggers, r.silent = nil, nil, nil, time.Time{}
	if r.kube != nil {
		w.restartJM(r)
	}
}

func (w *world) killTM(r *run) {
	for _, t := range r.tms {
		if t.lives() {
			if r.kube != nil {
				t.start = w.now
				return
			}
			t.dead, t.code = true, 137
			return
		}
	}
}

func (w *world) ensure(l flink.Launch) plan.Outcome {
	if f := w.fault.ensure; f != nil {
		return plan.Outcome{Err: f.Error(), Refusal: f}
	}
	if w.fault.ensureErr > 0 {
		w.fault.ensureErr--
		return plan.Outcome{Err: "fork: resource temporarily unavailable"}
	}
	if w.total > 0 && w.used(l.Run)+l.Spec.MemoryBytes() > w.total {
		f := &flink.Refusal{Kind: flink.RefusedNoRoom, Cause: flink.Cause{Message: "declared memory above what is free"}}
		return plan.Outcome{Err: f.Error(), Refusal: f}
	}
	r := w.find(l.Run)
	if r == nil {
		r = &run{launch: l}
		if w.kubernetes {
			r.kube = &kube{jmGone: true, tmGone: true}
		}
		w.runs = append(w.runs, r)
	}
	if r.kube != nil {
		w.ensureKube(r)
		return plan.Outcome{}
	}
	if !r.jm.lives() {
		r.jm = &process{start: w.now}
	}
	for r.living() < int(l.Spec.TaskManagers()) {
		r.tms = append(r.tms, &process{start: w.now})
	}
	return plan.Outcome{}
}

func (w *world) submit(a plan.Submit) plan.Outcome {
	if f := w.fault.submit; f != nil {
		w.fault.submit = nil
		return plan.Outcome{Err: f.Error(), Refusal: f}
	}
	if r := w.find(a.Run); r != nil && r.kube != nil && r.kube.done && r.job == nil && r.reachable(w.now) {
		return plan.Outcome{} // it knows the id: the caller takes that for a hand-in whose answer was lost
	}
	out := w.at(a.Run, func(r *run) error {
		if r.job == nil && !w.fault.swallows {
			w.startJob(r, a.Submission)
		}
		return nil
	})
	switch {
	case out.Err != "":
	case w.fault.twoJobs:
		w.fault.twoJobs = false
		f := &flink.Refusal{Kind: flink.RefusedProgram, Cause: flink.Cause{
			Class:   "org.apache.flink.util.FlinkRuntimeException",
			Message: "Cannot have more than one execute() or executeAsync() call in a single environment.",
		}}
		return plan.Outcome{Err: f.Error(), Refusal: f}
	case w.fault.answerLost:
		w.fault.answerLost = false
		return plan.Outcome{Err: "context deadline exceeded"}
	}
	return out
}

func (w *world) startJob(r *run, s flink.Submission) {
	w.checkStart(r, s)
	from := s.SnapshotPath
	if p := w.fault.restore; p != nil {
		from, w.fault.restore = *p, nil
	}
	j := &job{id: s.JobID, state: flink.JobInitializing, since: w.now, start: w.now, wrong: from != s.SnapshotPath}
	r.job = j
	if k := r.kube; k != nil && r.launch.Spec.StateStorage.Root != "" {
		k.submitted(s.SnapshotPath, w.disk[flink.NormalizePath(from)].id)
	}
	for path := range w.hid {
		j.wrong = j.wrong || !w.told[path]
	}
	if from == "" {
		j.fresh = s.SnapshotPath == ""
		return
	}
	snap, ok := w.disk[flink.NormalizePath(from)]
	if !ok {
		j.become(flink.JobFailed, w.now)
		j.cause = &flink.Cause{
			Class:   "java.io.FileNotFoundException",
			Message: "Cannot find checkpoint or savepoint file/directory '" + from + "' on file system 'file'.",
		}
		return
	}
	switch {
	case from != s.SnapshotPath:
	case snap.run.IsZero(), from == flink.NormalizePath(w.order.RestartFrom):
		w.high = snap.pos // somebody else's state, or what a person named: the output starts there
	case snap.wrong && w.kubernetes:
		w.sin("%s is handed in from %s, written by a job that came from elsewhere than told", r.launch.Run, from)
	}
	j.wrong = j.wrong || snap.wrong || w.unheard != ""
	j.pos, j.from, j.chk = snap.pos, snap.pos, snap.id
	j.restored = &flink.Restored{Path: flink.NormalizePath(from), ID: snap.id, IsSavepoint: true, At: w.now}
}

// checkStart holds the start of a job against the laws L5 and L6, with the world's own eyes.
func (w *world) checkStart(r *run, s flink.Submission) {
	if w.order.Deleted || w.order.Spec.State == flink.StateSuspended {
		w.sin("%s is handed in although nothing should run", r.launch.Run)
	}
	if s.JobID != r.launch.Run.JobID() {
		w.sin("%s is handed in under the id %s", r.launch.Run, s.JobID)
	}
	if w.shown[s.JobID] {
		w.sin("job id of %s is used twice", r.launch.Run)
	}
	for _, o := range w.runs {
		if o != r && o.job != nil && !flink.JobTerminal(o.job.state) && o.jm.lives() {
			w.sin("%s is handed in while the job of %s is %s (L5)", r.launch.Run, o.launch.Run, o.job.state)
		}
	}
	if s.SnapshotPath == "" && w.stateful(r) {
		w.sin("%s starts empty although a snapshot was taken (L6)", r.launch.Run)
	}
}

// stateful reports whether a run may not start empty.
func (w *world) stateful(r *run) bool {
	if r.launch.Spec.UpgradeMode == flink.UpgradeStateless {
		return false
	}
	for _, all := range []map[string]snapshot{w.disk, w.hid} {
		for path, s := range all {
			// One that the storage lost before anybody heard of it cannot be missed.
			if !s.run.IsZero() && (w.told[path] || w.disk[path] == s) {
				return true
			}
		}
	}
	return false
}

func (w *world) stop(r *run, a plan.StopJob) error {
	if r.triggers == nil {
		r.triggers = map[string]*trigger{}
	}
	if r.triggers[a.TriggerID] != nil {
		return nil // the first result stays for ever
	}
	t := &trigger{dir: a.Directory, at: w.now}
	r.triggers[a.TriggerID] = t
	if r.job == nil || r.job.state != flink.JobRunning {
		t.done = true
		t.failure = &flink.Cause{Class: "org.apache.flink.runtime.checkpoint.CheckpointException", Message: "The Flink job is currently not executing"}
	}
	return nil
}
