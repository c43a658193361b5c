package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// How fast the small world is. Its Flink behaves as the real one was seen to.
const (
	jmUp        = 2 * time.Second // start of a JobManager until its REST answers
	tmUp        = 3 * time.Second // start of a TaskManager until it is registered
	deployTime  = time.Second     // slots there until all tasks run
	saveTime    = 300 * time.Millisecond
	cancelTime  = 400 * time.Millisecond
	worldTenant = "default"
	worldUID    = "j1"
)

// world is one job, the place where its runs live, and a Flink in which they
// run: a model, advanced by asking it for a later time.
type world struct {
	now   time.Time
	order flink.Order
	mem   plan.Memory
	runs  []*run
	disk  map[string]snapshot // complete snapshots by path
	hid   map[string]snapshot // those that a fault took away
	total int64               // the place's room; 0: unlimited
	limit string              // what sets it
	other int64               // held by other jobs
	fault faults

	high  int64 // committed output below this position, of the output that counts
	sins  []string
	shown map[string]bool // ids of jobs that the planner was told of
	// unheard is the id of a job that finished by itself and of whose end the planner was not told: without high
	// availability nothing of that end outlives its JobManager, so what comes after is nobody's promise.
	unheard string
	told    map[string]bool // paths of snapshots that the planner was told of

	kubernetes bool // runs are brought up in Kubernetes, with high availability
	keepsHA    bool // EndRun leaves a run's record of checkpoints until it is collected
	hold       *flink.Hold
}

// faults are what goes wrong next; the counts go down as they strike.
type faults struct {
	preflight  *flink.Refusal // next preflight's answer
	ensure     *flink.Refusal // every EnsureRun's answer, while set
	ensureErr  int            // so many EnsureRuns fail
	submit     *flink.Refusal // next submit's answer; nothing is started
	answerLost bool           // next submit starts the job, and its answer is lost
	twoJobs    bool           // next submit starts the job and is refused: a second execute()
	restore    *string        // next submit restores from here instead
	startFails *flink.Cause   // every job handed in fails before its tasks run, while set
	vain       *flink.Cause   // every job handed in is deployed again and again, and never runs, while set
	saveFails  int            // so many savepoints fail
	saveStuck  bool           // savepoints stay in progress
	unreadable string         // listing the state storage fails, while set
	undead     bool           // EndRun does nothing, while set
	crashes    string         // last words of every JobManager that starts in Kubernetes, while set
	jmExits    bool           // every JobManager that starts ends at once, while set
	late       time.Duration  // observations are this old
	blind      string         // why nothing can be seen
	crash      string         // "before" or "after": the agent dies around its next act
	forgets    bool           // JobManagers have forgotten the results of their triggers, while set
	swallows   bool           // a hand-in is answered well, and nothing comes of it, while set
	cancelHang bool           // a job that is canceled does not end, while set
	stuck      bool           // a job that restarts does not come up again, while set
	fights     string         // somebody changes this object again whenever it is put back, while set
	noProof    bool           // Flink does not say where a job came from, while set
}

type snapshot struct {
	pos  int64
	kind string
	id   int64
	at   time.Time
	run  flink.Run

	wrong bool // written by a job that Flink did not start from where it was told
}

type process struct {
	start time.Time
	dead  bool
	up    bool // in Kubernetes: it led once
	code  int
}

type run struct {
	launch   flink.Launch
	jm       *process
	tms      []*process
	silent   time.Time // since when its REST does not answer
	strange  bool      // it does not because its keys are not the agent's
	job      *job
	others   []string
	triggers map[string]*trigger
	kube     *kube // nil: a host
}

type trigger struct {
	dir      string
	at       time.Time // asked
	done     bool
	location string
	failure  *flink.Cause
}

type job struct {
	id       string
	state    string
	start    time.Time
	since    time.Time // of state
	restored *flink.Restored
	pos      int64 // processed, one a second of running
	from     int64 // committed up to
	fresh    bool  // started empty on purpose: the first commit begins an output of its own
	wrong    bool  // Flink did not start it from where it was told: its output is nobody's promise
	nextChk  time.Time
	chk      int64
	done     int64
	latest   flink.Snapshot
	cause    *flink.Cause
}

func newWorld(start time.Time) *world {
	return &world{now: start, disk: map[string]snapshot{}, hid: map[string]snapshot{}, shown: map[string]bool{}, told: map[string]bool{}}
}

func (w *world) sin(format string, args ...any) {
	w.sins = append(w.sins, fmt.Sprintf(format, args...))
}

func (p *process) lives() bool { return p != nil && !p.dead }

func (r *run) alive() bool {
	if k := r.kube; k != nil {
		return !k.jmGone || !k.tmGone
	}
	return r.jm.lives() || slices.ContainsFunc(r.tms, (*process).lives)
}

func (r *run) living() int {
	n := 0
	for _, t := range r.tms {
		if t.lives() {
			n++
		}
	}
	return n
}

// registered counts the TaskManagers that the JobManager knows.
func (r *run) registered(now time.Time) int {
	n := 0
	for _, t := range r.tms {
		if t.lives() && r.reachable(now) && now.Sub(t.start) >= tmUp {
			n++
		}
	}
	return n
}

func (r *run) reachable(now time.Time) bool {
	if r.kube != nil {
		return r.leads(now) && r.silent.IsZero()
	}
	return r.jm.lives() && now.Sub(r.jm.start) >= jmUp && r.silent.IsZero()
}

// slots reports whether the job has what it needs to run. A silent REST does not stop a job.
func (r *run) slots(now time.Time) bool {
	n := 0
	for _, t := range r.tms {
		if t.lives() && now.Sub(t.start) >= tmUp {
			n++
		}
	}
	return n >= int(r.launch.Spec.TaskManagers())
}

func (w *world) find(id flink.Run) *run {
	for _, r := range w.runs {
		if r.launch.Run == id {
			return r
		}
	}
	return nil
}

// advance lets the world run until t.
func (w *world) advance(t time.Time) {
	for w.now.Before(t) {
		tick := 50 * time.Millisecond
		if w.calm() {
			tick = time.Second
		}
		step := min(tick, t.Sub(w.now))
		w.now = w.now.Add(step)
		for _, r := range w.runs {
			w.tick(r, step)
		}
	}
}

// calm reports whether nothing is under way that takes less than seconds.
func (w *world) calm() bool {
	for _, r := range w.runs {
		if !r.alive() || r.kube != nil && r.kube.ended {
			continue
		}
		if j := r.job; j == nil || j.state != flink.JobRunning && !flink.JobTerminal(j.state) || !r.slots(w.now) {
			return false
		}
		for _, t := range r.triggers {
			if !t.done {
				return false
			}
		}
	}
	return true
}

func (w *world) tick(r *run, step time.Duration) {
	if w.fault.jmExits && r.jm.lives() && w.now.Sub(r.jm.start) >= time.Second {
		r.jm.dead, r.jm.code = true, 1
	}
	if r.kube != nil {
		w.tickKube(r)
	}
	j := r.job
	if j == nil || !r.jm.lives() || r.kube != nil && r.kube.hung {
		return
	}
	age := w.now.Sub(j.since)
	switch j.state {
	case flink.JobInitializing:
		if age >= 200*time.Millisecond {
			j.become(flink.JobCreated, w.now)
		}
	case flink.JobCreated, flink.JobRestarting:
		switch {
		case w.fault.startFails != nil && j.state == flink.JobCreated:
			j.become(flink.JobFailed, w.now)
			j.cause = w.fault.startFails
		case w.fault.vain != nil:
			j.become(flink.JobRestarting, w.now)
			j.cause = w.fault.vain
		case w.fault.stuck && j.state == flink.JobRestarting:
		case r.slots(w.now) && age >= deployTime:
			j.become(flink.JobRunning, w.now)
			j.nextChk = w.now.Add(r.launch.Spec.CheckpointInterval())
		}
	case flink.JobRunning:
		w.runJob(r, j, step)
	case flink.JobCancelling:
		if age >= cancelTime && !w.fault.cancelHang {
			j.become(flink.JobCanceled, w.now)
		}
	}
}

func (j *job) become(state string, now time.Time) { j.state, j.since = state, now }

func (w *world) runJob(r *run, j *job, step time.Duration) {
	if !r.slots(w.now) { // back to its newest snapshot
		j.become(flink.JobRestarting, w.now)
		j.pos = j.from
		w.failTriggers(r, "a task was lost")
		return
	}
	j.pos += step.Milliseconds()
	if !w.now.Before(j.nextChk) {
		j.nextChk = w.now.Add(r.launch.Spec.CheckpointInterval())
		w.checkpoint(r, j)
	}
	for _, t := range r.triggers {
		if t.done || w.now.Sub(t.at) < saveTime || w.fault.saveStuck {
			continue
		}
		t.done = true
		if w.fault.saveFails > 0 {
			w.fault.saveFails--
			t.failure = &flink.Cause{Class: "java.io.IOException", Message: "Failed to create savepoint directory at " + t.dir}
			continue
		}
		path := flink.NormalizePath(t.dir + "/savepoint-" + j.id[:6])
		w.disk[path] = snapshot{pos: j.pos, kind: flink.KindSavepoint, at: w.now, run: r.launch.Run, wrong: j.wrong}
		t.location = path
		w.commit(r, j)
		w.finish(r, j)
	}
}

func (w *world) failTriggers(r *run, why string) {
	for _, t := range r.triggers {
		if !t.done {
			t.done, t.failure = true, &flink.Cause{Class: "org.apache.flink.runtime.checkpoint.CheckpointException", Message: why}
		}
	}
}

// commit makes output visible up to the job's position, and notes what is visible twice or never.
func (w *world) commit(r *run, j *job) {
	if j.wrong {
		return
	}
	if j.fresh {
		w.high, j.fresh = 0, false
	}
	if j.from != w.high {
		w.sin("%s commits from %d, but output is visible up to %d", r.launch.Run, j.from, w.high)
	}
	w.high, j.from = j.pos, j.pos
}

func (w *world) checkpoint(r *run, j *job) {
	if r.launch.Spec.StateStorage.Root == "" {
		return // it keeps them in memory
	}
	j.chk++
	j.done++
	path := fmt.Sprintf("%s/chk-%d", w.dir(r), j.chk)
	w.disk[path] = snapshot{pos: j.pos, kind: flink.KindCheckpoint, id: j.chk, at: w.now, run: r.launch.Run, wrong: j.wrong}
	delete(w.disk, fmt.Sprintf("%s/chk-%d", w.dir(r), j.chk-1))
	j.latest = flink.Snapshot{Path: path, Kind: flink.KindCheckpoint, ID: j.chk, CompletedAt: w.now}
	if k := r.kube; k != nil {
		k.completed(j)
	}
	w.commit(r, j)
}

func (w *world) dir(r *run) string {
	l := r.launch
	return flink.NormalizePath(config.Dirs(l.Spec.StateStorage.Root, l.Tenant, l.Run).Checkpoints + "/" + l.Run.JobID())
}

// finish ends a job that is done; its checkpoints go with it.
func (w *world) finish(r *run, j *job) {
	j.become(flink.JobFinished, w.now)
	for path := range w.disk {
		if strings.HasPrefix(path, w.dir(r)+"/") {
			delete(w.disk, path)
		}
	}
}

// observe answers as the agent's observer does.
func (w *world) observe() flink.Observed {
	if w.fault.blind != "" {
		return flink.Observed{At: w.now, Blind: w.fault.blind, Hold: w.hold}
	}
	q := plan.Ask(w.order, w.mem)
	ob := flink.Observed{At: w.now.Add(-w.fault.late), Room: flink.Room{MemoryTotal: w.total, MemoryUsed: w.used(flink.Run{}), Limit: w.limit}, Hold: w.hold}
	for _, r := range w.runs {
		if r.kube != nil && r.kube.nothing() {
			continue
		}
		ob.Runs = append(ob.Runs, w.see(r, q.Triggers[r.launch.Run]))
	}
	if q.SnapshotPath != "" {
		_, ok := w.disk[flink.NormalizePath(q.SnapshotPath)]
		ob.SnapshotCheck = &flink.SnapshotCheck{Path: q.SnapshotPath, Exists: ok}
		if w.kubernetes {
			ob.SnapshotCheck = &flink.SnapshotCheck{Path: q.SnapshotPath, Err: "cannot be read from here; Flink will tell"}
		}
	}
	if d := q.Dead; d != nil {
		if r := w.find(d.Run); r == nil || !r.alive() {
			ob.Newest = w.newest(*d)
		}
	}
	return ob
}

func (w *world) used(but flink.Run) int64 {
	n := w.other
	for _, r := range w.runs {
		if r.alive() && r.launch.Run != but {
			n += r.launch.Spec.MemoryBytes()
		}
	}
	return n
}

func (w *world) newest(d plan.DeadRun) *flink.NewestCheckpoint {
	if w.fault.unreadable != "" {
		return &flink.NewestCheckpoint{Run: d.Run, Err: w.fault.unreadable}
	}
	if w.kubernetes {
		return w.newestOnRecord(d)
	}
	n := &flink.NewestCheckpoint{Run: d.Run}
	for path, s := range w.disk {
		if d.StopDir != "" && strings.HasPrefix(path, flink.NormalizePath(d.StopDir)+"/") {
			n.Snapshot = flink.Snapshot{Path: path, Kind: s.kind, CompletedAt: s.at, Run: d.Run}
			return n
		}
		if strings.HasPrefix(path, flink.NormalizePath(d.CheckpointsDir)+"/") && s.id > n.Snapshot.ID {
			n.Snapshot = flink.Snapshot{Path: path, Kind: s.kind, ID: s.id, CompletedAt: s.at, Run: d.Run}
		}
	}
	return n
}

func (w *world) see(r *run, triggerID string) flink.RunObserved {
	l := r.launch
	o := flink.RunObserved{Run: l.Run, Launch: &l}
	if r.kube != nil {
		r.seeKube(&o)
	} else {
		o.JobManager = r.jm.see("jm")
		for i, t := range r.tms {
			o.TaskManagers = append(o.TaskManagers, t.see(fmt.Sprintf("tm-%d", i)))
		}
	}
	if r.alive() {
		o.Memory = l.Spec.MemoryBytes()
	}
	if !o.JobManager.Exists() {
		return o
	}
	o.Endpoint = "http://127.0.0.1:8081"
	o.REST = flink.REST{Asked: true, SilentSince: r.silent}
	if !r.reachable(w.now) {
		o.REST.Err, o.REST.OtherKeys = "connection refused", r.strange
		if o.REST.SilentSince.IsZero() {
			o.REST.SilentSince = r.quiet()
		}
		return o
	}
	n := int32(r.registered(w.now))
	o.REST = flink.REST{
		Asked: true, Reachable: true, FlinkVersion: "2.3.0", JobsListed: true, OtherJobs: r.others,
		TaskManagers: n, SlotsTotal: n * l.Spec.TaskManager.Slots,
	}
	o.REST.Job = w.seeJob(r)
	if triggerID != "" {
		t := r.triggers[triggerID]
		if t == nil || t.done && w.fault.forgets {
			o.REST.TriggerGone = true
		} else {
			o.REST.Trigger = &flink.Trigger{ID: triggerID, Completed: t.done, Location: t.location, Failure: t.failure}
		}
	}
	return o
}

func (w *world) seeJob(r *run) *flink.JobObserved {
	j := r.job
	if j == nil {
		return nil
	}
	par := r.launch.Spec.Parallelism
	o := &flink.JobObserved{
		ID: j.id, Name: r.launch.Name, State: j.state, TasksTotal: par, Parallelism: par, Wanted: par, StartTime: j.since,
		Restored: j.restored, Latest: j.latest, Completed: j.done, Cause: j.cause,
	}
	if j.state == flink.JobRunning || j.state == flink.JobFinished {
		o.TasksRunning = par
	}
	if r.kube != nil {
		o.StartTime = j.start
	}
	if w.fault.noProof {
		o.Restored = nil
	}
	return o
}

func (p *process) see(id string) flink.Process {
	switch {
	case p == nil:
		return flink.Process{}
	case p.dead:
		return flink.Process{State: flink.ProcessExited, ID: id, StartedAt: p.start, ExitCode: p.code}
	}
	return flink.Process{State: flink.ProcessRunning, ID: id, StartedAt: p.start}
}
