package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

const (
	leaseTime  = 15 * time.Second       // a JobManager that starts again waits so long for its predecessor's lease
	bringsBack = 500 * time.Millisecond // leadership until the job is listed
)

// kube is what a run has in Kubernetes: objects that start its processes again by
// themselves, and the high availability data by which its JobManager goes on.
type kube struct {
	jmGone, tmGone bool   // the Deployments do not exist
	jmWait, tmWait string // why their pods do not work
	hung           bool   // the JobManager does nothing any more
	restarts       int
	pods           int       // of JobManagers, made one after the other
	broken         string    // last words of a JobManager that starts by what is on record: it cannot be used
	ended          bool      // the JobManager ended as it started
	again          time.Time // when it is started again then
	ends           int       // how often in a row
	reason         string
	waited         time.Time // since when REST does not answer
	free           time.Time // when the lease of the JobManager before is over
	drift          []string

	graph, pointers bool
	newest          int64
	renewed         time.Time

	done  bool   // its job ended, which its JobManagers keep on record
	from  string // snapshot that the job was handed in with
	chk   int64  // its newest completed checkpoint, in truth
	fresh bool   // it was handed in empty, and nothing of it is committed yet
}

// nothing reports whether no object of a run is left.
func (k *kube) nothing() bool {
	return k.jmGone && k.tmGone && !k.graph && !k.pointers && k.renewed.IsZero()
}

func (k *kube) submitted(from string, id int64) {
	k.graph, k.pointers, k.newest, k.from, k.chk, k.fresh = true, true, id, from, 0, from == ""
}

func (k *kube) completed(j *job) {
	if k.pointers {
		k.newest = j.chk
	}
	if !j.wrong {
		k.chk, k.fresh = j.chk, false
	}
}

// leads reports whether the run's JobManager works.
func (r *run) leads(now time.Time) bool {
	k := r.kube
	return !k.jmGone && k.jmWait == "" && !k.hung && r.jm.lives() && now.Sub(r.jm.start) >= jmUp && !now.Before(k.free)
}

// quiet is since when REST does not answer, as an agent that always looks knows it.
func (r *run) quiet() time.Time {
	if r.kube != nil && !r.kube.waited.IsZero() {
		return r.kube.waited
	}
	return r.jm.start
}

func (w *world) tickKube(r *run) {
	k := r.kube
	if r.job != nil && flink.JobTerminal(r.job.state) {
		k.graph, k.pointers, k.done = false, false, true
	}
	w.crash(r)
	if !r.leads(w.now) {
		if k.waited.IsZero() {
			k.waited = w.now
		}
		return
	}
	k.waited = time.Time{}
	if r.launch.Spec.StateStorage.Root == "" {
		return
	}
	k.renewed = w.now
	if r.job == nil && k.graph && w.now.Sub(r.jm.start) >= jmUp+bringsBack && w.now.Sub(k.free) >= bringsBack {
		w.bringBack(r)
	}
}

// crash ends a JobManager that cannot start, when it would lead, and starts it again ever later, as a kubelet does.
func (w *world) crash(r *run) {
	k := r.kube
	if k.ended && !w.now.Before(k.again) {
		w.restartJM(r)
	}
	if r.jm.up || !r.leads(w.now) {
		return
	}
	words := w.fault.crashes
	if k.broken != "" && k.graph {
		words = k.broken
	}
	if r.jm.up = words == ""; r.jm.up {
		k.ends = 0
		return
	}
	if r.launch.Spec.StateStorage.Root != "" {
		k.renewed = w.now
	}
	k.ends++
	r.jm.dead, k.ended = true, true
	k.again = w.now.Add(min(10*time.Second<<min(k.ends-1, 5), 5*time.Minute))
	k.reason = "ended with exit 1: " + words
	k.jmWait = fmt.Sprintf("container jobmanager ends again and again, %d times so far: it %s", k.restarts, k.reason)
}

// bringBack starts the job that is on record, as a JobManager that has just got the lease does.
func (w *world) bringBack(r *run) {
	k := r.kube
	j := &job{id: r.launch.Run.JobID(), state: flink.JobInitializing, since: w.now, start: w.now}
	r.job = j
	own := fmt.Sprintf("%s/chk-%d", w.dir(r), k.newest)
	from, savepoint := k.from, true
	if _, ok := w.disk[own]; ok && k.pointers {
		from, savepoint = own, false
	}
	n, _ := flink.CheckpointID(from)
	j.wrong = k.chk > 0 && (savepoint || n < k.chk)
	if from == "" {
		j.fresh = k.fresh
		k.pointers, k.newest = true, 0
		return
	}
	snap, ok := w.disk[flink.NormalizePath(from)]
	if !ok {
		j.become(flink.JobFailed, w.now)
		j.cause = &flink.Cause{Class: "java.io.FileNotFoundException", Message: "Cannot find checkpoint or savepoint file/directory '" + from + "'"}
		return
	}
	j.wrong = j.wrong || snap.wrong
	j.pos, j.from, j.chk = snap.pos, snap.pos, snap.id
	j.restored = &flink.Restored{Path: flink.NormalizePath(from), ID: snap.id, IsSavepoint: savepoint, At: w.now}
	k.pointers, k.newest = true, snap.id
}

// restartJM has the kubelet start the JobManager's container again, in place.
func (w *world) restartJM(r *run) {
	k := r.kube
	if k.jmGone {
		return
	}
	if k.waited.IsZero() {
		k.waited = w.now
	}
	k.hung = false
	if k.ended {
		k.ended, k.jmWait = false, ""
	}
	k.restarts++
	k.free = k.renewed.Add(leaseTime)
	r.jm = &process{start: w.now}
}

func (w *world) ensureKube(r *run) {
	k := r.kube
	k.drift = nil
	if k.jmGone {
		k.jmGone, k.hung, k.waited = false, false, w.now
		k.pods++
		k.restarts, k.ends, k.reason = 0, 0, ""
		k.free = w.now
		if !k.renewed.IsZero() {
			k.free = k.renewed.Add(leaseTime)
		}
		r.jm = &process{start: w.now}
	}
	if k.tmGone {
		k.tmGone = false
		r.tms = nil
		for range r.launch.Spec.TaskManagers() {
			r.tms = append(r.tms, &process{start: w.now})
		}
	}
	if w.fault.fights != "" {
		k.drift = []string{w.fault.fights}
	}
}

// dropObjects is what somebody with kubectl does to a run: all of it but its high availability data.
func (w *world) dropObjects(r *run) {
	k := r.kube
	r.job, r.others, r.triggers, r.silent = nil, nil, nil, time.Time{}
	r.jm.dead, r.tms = true, nil
	if k.ended {
		k.ended, k.jmWait = false, ""
	}
	k.jmGone, k.tmGone = true, true
	k.drift = []string{"Deployment " + r.launch.Run.Name() + "-jm is missing", "Deployment " + r.launch.Run.Name() + "-tm is missing"}
}

func (w *world) endRun(r *run) {
	if r.kube == nil {
		w.killAll(r)
		return
	}
	k := r.kube
	if r.alive() {
		w.dropObjects(r)
		k.drift = nil
	}
	k.graph, k.renewed = false, time.Time{}
	if !w.keepsHA {
		k.pointers, k.newest = false, 0
	}
}

// collect removes what is left of runs that no record names, as the agent has done when there is nothing else to do.
func (w *world) collect(p plan.Plan) {
	for _, r := range w.runs {
		if r.kube != nil && !r.alive() && (p.Gone || !names(p.Memory, r.launch.Run)) {
			r.kube.graph, r.kube.pointers, r.kube.newest, r.kube.renewed = false, false, 0, time.Time{}
		}
	}
}

func names(m plan.Memory, run flink.Run) bool {
	for _, rec := range []*plan.RunRecord{m.Current, m.Next, m.Previous} {
		if rec != nil && rec.Run == run {
			return true
		}
	}
	return false
}

func (r *run) seeKube(o *flink.RunObserved) {
	k := r.kube
	o.Drift = slices.Clone(k.drift)
	if strings.Contains(k.jmWait, "container jar") {
		o.JarMissing = "cp: cannot stat '/opt/flink/usrlib/job.jar': No such file or directory"
	}
	if r.launch.Spec.StateStorage.Root != "" {
		o.HA = &flink.HAData{Graph: k.graph, Pointers: k.pointers, Renewed: k.renewed}
	}
	if k.pointers {
		o.HA.Newest = k.newest
	}
	if !k.jmGone {
		o.JobManager = flink.Process{
			State: flink.ProcessRunning, ID: fmt.Sprintf("jm-%d", k.pods), StartedAt: r.jm.start, Waiting: k.jmWait, Restarts: k.restarts,
			Ended: k.ended, Reason: k.reason,
		}
	}
	if !k.tmGone {
		for i, t := range r.tms {
			o.TaskManagers = append(o.TaskManagers, flink.Process{State: flink.ProcessRunning, ID: fmt.Sprintf("tm-%d", i), StartedAt: t.start, Waiting: k.tmWait})
		}
	}
}

// newestOnRecord answers as a place does that cannot read state storage.
func (w *world) newestOnRecord(d plan.DeadRun) *flink.NewestCheckpoint {
	n := &flink.NewestCheckpoint{Run: d.Run}
	r := w.find(d.Run)
	switch {
	case r == nil || !r.kube.pointers:
		n.Err = "its high availability data is gone, and state storage cannot be read from here"
	case r.kube.newest > 0:
		n.Snapshot = flink.Snapshot{
			Path: fmt.Sprintf("%s/chk-%d", w.dir(r), r.kube.newest), Kind: flink.KindCheckpoint, ID: r.kube.newest, Run: d.Run,
		}
	}
	return n
}

// setWait has a part's pods wait for something, or not any more.
func (s *script) setWait(part, words string) error {
	r, err := s.current()
	if err != nil {
		return err
	}
	switch k := r.kube; part {
	case "jm":
		if words != "" && k.jmWait == "" {
			s.w.killJM(r)
		}
		k.ended = false
		if k.jmWait = words; words == "" {
			r.jm = &process{start: s.w.now}
		}
	case "tm":
		k.tmWait = words
		for _, t := range r.tms {
			t.dead, t.start = words != "", s.w.now
		}
	default:
		return fmt.Errorf("wait jm or tm")
	}
	return nil
}

// setHA does something to a run's high availability data.
func (s *script) setHA(rest string) error {
	r, err := s.current()
	if err != nil {
		return err
	}
	verb, words, _ := strings.Cut(rest, " ")
	switch k := r.kube; verb {
	case "broken":
		k.broken = words
	case "mended":
		k.broken = ""
	case "lost":
		k.graph, k.pointers, k.newest = false, false, 0
	case "pointers-lost":
		k.pointers, k.newest = false, 0
	case "objects":
		s.w.dropObjects(r)
	case "objects-and-data":
		s.w.dropObjects(r)
		k.graph, k.pointers, k.newest, k.renewed = false, false, 0, time.Time{}
	case "hang":
		k.hung, k.waited = true, s.w.now
	default:
		return fmt.Errorf("ha broken, mended, lost, pointers-lost, objects, objects-and-data or hang")
	}
	return nil
}

// newestInTruth is the newest complete snapshot of the job, whoever knows of it.
func (w *world) newestInTruth() string {
	newest, at := "", time.Time{}
	for path, s := range w.disk {
		if !s.wrong && !s.run.IsZero() && (s.at.After(at) || s.at.Equal(at) && path > newest) {
			newest, at = path, s.at
		}
	}
	return newest
}
