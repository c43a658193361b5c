package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits of what is told of one run.
const (
	maxEnded = 16 // pods that have ended
	maxDrift = 8
)

// jarContainer is the init container that brings the program's jar.
const jarContainer = "jar"

// seen is what the watches show of one run.
type seen struct {
	run         flink.Run
	anchor      *corev1.ConfigMap // nil: none
	jobManager  *appsv1.Deployment
	taskManager *appsv1.Deployment
	pods        []*corev1.Pod // oldest first
	ha          []*corev1.ConfigMap
}

// Observe implements reconcile.Runtime.
func (r *Runtime) Observe(ctx context.Context, uid string) ([]flink.RunObserved, flink.Room, error) {
	spaces, err := r.settled(uid)
	if err != nil {
		return nil, flink.Room{}, fmt.Errorf("observe: %w", err)
	}
	var out []flink.RunObserved
	var room flink.Room
	own := r.namespaceOf(uid)
	for _, s := range spaces {
		runs := s.seen(uid)
		for _, x := range runs {
			o, err := r.observed(ctx, s, x)
			if err != nil {
				return nil, flink.Room{}, fmt.Errorf("observe run %s: %w", x.run, err)
			}
			out = append(out, o)
		}
		if s.namespace == own || own == "" && len(runs) > 0 {
			room = s.room()
		}
	}
	slices.SortStableFunc(out, func(a, b flink.RunObserved) int { return compareRuns(a.Run, b.Run) })
	return out, room, nil
}

func compareRuns(a, b flink.Run) int {
	return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Run, b.Run))
}

// seen collects what there is of a job, by run.
func (s *space) seen(uid string) []*seen {
	var runs []*seen
	of := func(run flink.Run) *seen {
		for _, x := range runs {
			if x.run == run {
				return x
			}
		}
		x := &seen{run: run}
		runs = append(runs, x)
		return x
	}
	for _, cm := range each[*corev1.ConfigMap](s.anchors, uid) {
		if run, ok := runOf(cm); ok && cm.Name == render.Name(run) {
			of(run).anchor = cm
		}
	}
	for _, d := range each[*appsv1.Deployment](s.deployments, uid) {
		run, ok := runOf(d)
		switch {
		case ok && d.Name == render.JobManagerName(run):
			of(run).jobManager = d
		case ok && d.Name == render.TaskManagerName(run):
			of(run).taskManager = d
		}
	}
	for _, p := range each[*corev1.Pod](s.pods, uid) {
		if run, ok := runOf(p); ok {
			x := of(run)
			x.pods = append(x.pods, p)
		}
	}
	for _, cm := range each[*corev1.ConfigMap](s.ha, uid) {
		if run, ok := runOf(cm); ok {
			x := of(run)
			x.ha = append(x.ha, cm)
		}
	}
	for _, x := range runs {
		slices.SortFunc(x.pods, func(a, b *corev1.Pod) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
		})
	}
	return runs
}

// observed puts together what is told of one run.
func (r *Runtime) observed(ctx context.Context, s *space, x *seen) (flink.RunObserved, error) {
	o := flink.RunObserved{Run: x.run, Endpoint: render.Endpoint(x.run, s.namespace)}
	taskManagers := 0
	meant := false
	a, stands := r.agreedOn(s, x)
	switch {
	case stands:
		o.Launch, meant, taskManagers = &a.launch, a.ha, int(a.launch.Spec.TaskManagers())
	case x.anchor != nil:
		found := r.read(x.anchor)
		if found.unknown == nil { // what cannot be read is told as drift
			o.Launch = new(found.launched())
			taskManagers = int(found.launch.Spec.TaskManagers())
		}
		meant = found.ha
	}
	jms := x.processes(x.jobManager, render.JobManager, 1)
	r.lookUp(ctx, x.pods, jms)
	if len(jms) > 0 {
		o.JobManager = jms[len(jms)-1]
	}
	if d := x.taskManager; d != nil && taskManagers == 0 && d.Spec.Replicas != nil {
		taskManagers = int(*d.Spec.Replicas)
	}
	o.TaskManagers = x.processes(x.taskManager, render.TaskManager, taskManagers)
	r.lookUp(ctx, x.pods, o.TaskManagers)
	o.HA = haOf(x.run, x.ha, meant)
	if o.Alive() && o.Launch != nil {
		o.Memory = o.Launch.Spec.MemoryBytes()
	}
	for _, p := range x.pods {
		if words := jarMissing(p, jarContainer); words != "" && p.DeletionTimestamp == nil {
			o.JarMissing = words
		}
	}
	if !stands {
		var err error
		if o.Drift, err = r.driftOf(s, x); err != nil {
			return o, err
		}
	}
	if x.anchor != nil && r.secretMissing(x) {
		o.Drift = append(o.Drift, "Secret "+render.RESTName(x.run)+" is missing")
	}
	return o, nil
}

// processes are the pods of one component, ended ones first, and one for each
// replica that has no pod: a Deployment brings it sooner or later. Without a
// Deployment its pods still exist until they do not.
func (x *seen) processes(d *appsv1.Deployment, component string, wanted int) []flink.Process {
	var ended, alive []flink.Process
	for _, p := range x.pods {
		if p.Labels[render.LabelComponent] != component {
			continue
		}
		if proc := processOf(p); proc.Exists() {
			alive = append(alive, proc)
		} else {
			ended = append(ended, proc)
		}
	}
	ended = ended[max(len(ended)-maxEnded, 0):]
	if d == nil {
		return append(ended, alive...)
	}
	words := "it has no pod yet"
	switch {
	case d.DeletionTimestamp != nil:
		words = "its Deployment is being deleted since " + clock(deletedAt(d))
		wanted = max(len(alive), 1) // it exists until the Deployment does not
	default:
		if c := podsRefused(d); c != nil {
			words = limited("its pod may not be made: " + c.Message)
		}
	}
	for len(alive) < wanted {
		alive = append(alive, flink.Process{State: flink.ProcessRunning, StartedAt: d.CreationTimestamp.Time, Waiting: words})
	}
	return append(ended, alive...)
}

// lookUp asks the events of pods that say nothing themselves why a container of theirs is not there.
func (r *Runtime) lookUp(ctx context.Context, pods []*corev1.Pod, procs []flink.Process) {
	for i := range procs {
		if procs[i].Waiting != "" || procs[i].State != flink.ProcessRunning {
			continue
		}
		for _, p := range pods {
			if since := creating(p); p.Name == procs[i].ID && !since.IsZero() && time.Since(since) > creatingLimit {
				procs[i].Waiting = cmp.Or(r.events.why(ctx, p), "its container is being created since "+clock(since))
			}
		}
	}
}

// driftOf lists what of a run is missing or not as it was made. A run without an
// anchor is on its way out: its objects go with it.
func (r *Runtime) driftOf(s *space, x *seen) ([]string, error) {
	if x.anchor == nil {
		if x.jobManager == nil && x.taskManager == nil {
			return nil, nil
		}
		return []string{"ConfigMap " + render.Name(x.run) + " is missing"}, nil
	}
	if x.anchor.DeletionTimestamp != nil {
		return []string{"ConfigMap " + x.anchor.Name + " is being deleted"}, nil
	}
	found := r.read(x.anchor)
	if found.damaged != nil {
		return []string{found.damaged.Error()}, nil //nolint:nilerr // that is what is seen of the run
	}
	objects := found.objects
	refs := refsOf(objects)
	before := s.versions(x.anchor, refs) // a change while it is compared makes another of it
	var out []string
	for _, want := range objects {
		d, err := r.drift(s, want)
		if err != nil {
			return nil, err
		}
		if d != "" && len(out) < maxDrift {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		r.agree(s, x, refs, before)
	}
	return out, nil
}

// secretMissing reports whether the run's Secret is known to be gone. Secrets
// cannot be read here; a pod that waits for it says so, and goes on saying so for
// a while after it was made again.
func (r *Runtime) secretMissing(x *seen) bool {
	if r.madeLately(x.run) {
		return false
	}
	missing := fmt.Sprintf("%q not found", render.RESTName(x.run))
	return slices.ContainsFunc(x.pods, func(p *corev1.Pod) bool {
		s := mainStatus(p)
		if s.State.Running != nil || p.DeletionTimestamp != nil {
			return false
		}
		return strings.Contains(waiting(p), missing) || strings.Contains(r.events.last(p.UID), missing)
	})
}

// room is what the namespace's quotas leave.
func (s *space) room() flink.Room {
	var quotas []*corev1.ResourceQuota
	for _, o := range s.quotas.GetStore().List() {
		if q, ok := o.(*corev1.ResourceQuota); ok {
			quotas = append(quotas, q)
		}
	}
	if len(quotas) == 0 {
		return flink.Room{}
	}
	held := map[flink.Run]int64{} // by pods
	for _, o := range s.pods.GetStore().List() {
		if p, ok := o.(*corev1.Pod); ok {
			if run, ok := runOf(p); ok {
				held[run] += memoryOf(p)
			}
		}
	}
	declared := map[flink.Run]int64{}
	for _, o := range s.deployments.GetStore().List() {
		d, ok := o.(*appsv1.Deployment)
		run, known := flink.Run{}, false
		if ok && d.DeletionTimestamp == nil {
			run, known = runOf(d)
		}
		if known && d.Spec.Replicas != nil {
			declared[run] += int64(*d.Spec.Replicas) * memoryOf(&corev1.Pod{Spec: d.Spec.Template.Spec})
		}
	}
	var missing int64
	for run, n := range declared {
		missing += max(n-held[run], 0)
	}
	return roomOf(s.namespace, quotas, missing)
}
