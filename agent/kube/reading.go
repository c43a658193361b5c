package kube

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// maxReadings bounds how many anchors are kept read: those of runs that come up.
const maxReadings = 1024

// reading is what an anchor says of its run. Nobody changes it.
type reading struct {
	version string // of the anchor
	launch  flink.Launch
	unknown error           // why launch cannot be read
	objects []render.Object // of the run, beside the anchor and its Secret
	damaged error           // why they, or the launch, cannot be read
	ha      bool            // it was made with high availability
}

// read reads an anchor, once as long as it is the same one. That lasts until its run was found as it was made (see agree).
func (r *Runtime) read(anchor *corev1.ConfigMap) *reading {
	key, version := anchor.Namespace+"/"+anchor.Name, string(anchor.UID)+"/"+anchor.ResourceVersion
	r.memo.mu.Lock()
	x := r.memo.readings[key]
	r.memo.mu.Unlock()
	if x != nil && x.version == version {
		return x
	}
	x = &reading{version: version}
	x.launch, x.unknown = render.LaunchOf(anchor)
	o, err := render.ObjectsOf(anchor)
	switch {
	case x.unknown != nil:
		x.damaged = x.unknown
	case err != nil:
		x.damaged = err
	default:
		x.objects = o.All()[1:]
	}
	x.ha = err == nil && o.RPC == nil
	r.memo.mu.Lock()
	defer r.memo.mu.Unlock()
	if r.memo.readings == nil || len(r.memo.readings) >= maxReadings {
		r.memo.readings = map[string]*reading{}
	}
	r.memo.readings[key] = x
	return x
}

// launched is the launch that an anchor records, for whoever may change it.
func (x *reading) launched() flink.Launch {
	l := x.launch
	l.Spec = l.Spec.Clone()
	return l
}

// launchOf is the launch that a run's anchor records.
func (r *Runtime) launchOf(s *space, x *seen) (flink.Launch, error) {
	if a, ok := r.agreedOn(s, x); ok {
		return a.launch, nil
	}
	found := r.read(x.anchor)
	return found.launched(), found.unknown
}
