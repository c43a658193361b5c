package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// maxAgreed bounds how many runs are remembered as found as they were made.
const maxAgreed = 4096

// agreed is a run that was found as it was made, and what its anchor says of it.
// While none of its objects has another version nothing of it has to be read or
// compared again, which is nearly always.
type agreed struct {
	launch   flink.Launch
	ha       bool
	objects  []ref
	versions string // of the anchor and the objects
}

// ref names an object of a run.
type ref struct{ kind, name string }

func refsOf(objects []render.Object) []ref {
	out := make([]ref, len(objects))
	for i, o := range objects {
		out[i] = ref{o.GetObjectKind().GroupVersionKind().Kind, o.GetName()}
	}
	return out
}

// versions are those of a run's objects as the watches show them, in one word; "" while one is missing or on its way out.
func (s *space) versions(anchor *corev1.ConfigMap, objects []ref) string {
	if anchor == nil || anchor.DeletionTimestamp != nil {
		return ""
	}
	var b strings.Builder
	b.WriteString(string(anchor.UID))
	b.WriteByte('/')
	b.WriteString(anchor.ResourceVersion)
	for _, o := range objects {
		_, meta, ok := s.live(o.kind, o.name)
		if !ok || meta.GetDeletionTimestamp() != nil {
			return ""
		}
		b.WriteByte(' ')
		b.WriteString(string(meta.GetUID()))
		b.WriteByte('/')
		b.WriteString(meta.GetResourceVersion())
	}
	return b.String()
}

// agreedOn is what was found of a run if it still stands.
func (r *Runtime) agreedOn(s *space, x *seen) (agreed, bool) {
	if x.anchor == nil {
		return agreed{}, false
	}
	r.memo.mu.Lock()
	a, ok := r.memo.agreed[s.namespace+"/"+x.anchor.Name]
	r.memo.mu.Unlock()
	if !ok || a.versions != s.versions(x.anchor, a.objects) {
		return agreed{}, false
	}
	a.launch.Spec = a.launch.Spec.Clone()
	return a, true
}

// agree remembers a run that was found as it was made, its objects not older than versions.
func (r *Runtime) agree(s *space, x *seen, objects []ref, versions string) {
	found := r.read(x.anchor)
	if found.damaged != nil || versions == "" {
		return
	}
	a := agreed{launch: found.launch, ha: found.ha, objects: objects, versions: versions}
	r.memo.mu.Lock()
	defer r.memo.mu.Unlock()
	if r.memo.agreed == nil || len(r.memo.agreed) >= maxAgreed {
		r.memo.agreed = map[string]agreed{}
	}
	r.memo.agreed[s.namespace+"/"+x.anchor.Name] = a
	delete(r.memo.readings, s.namespace+"/"+x.anchor.Name)
}
