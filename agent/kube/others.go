package kube

import (
	"cmp"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// others are the runs in namespaces of tenants that are another agent's.
type others struct {
	mine string // the cluster that this agent's objects are labelled with
	runs map[string]map[flink.Run]Ended
}

// others finds the runs that some object labels with another cluster. Flink's own objects carry no such label: they are
// whose their run is.
func (r *Runtime) others() others {
	out := others{mine: r.cluster(), runs: map[string]map[flink.Run]Ended{}}
	for _, s := range r.spaces {
		of := map[flink.Run]Ended{}
		for _, w := range []*watched{s.anchors, s.deployments, s.services, s.policies} {
			for _, x := range w.GetStore().List() {
				o, ok := x.(metav1.Object)
				if !ok || !out.labelled(o) {
					continue
				}
				if run, ok := runOf(o); ok {
					of[run] = Ended{
						Run: run, Namespace: s.namespace, Other: o.GetLabels()[render.LabelCluster],
						Tenant: o.GetLabels()[render.LabelTenant], Name: o.GetLabels()[render.LabelJob],
					}
				}
			}
		}
		out.runs[s.namespace] = of
	}
	return out
}

// cluster is what objects are labelled with.
func (r *Runtime) cluster() string {
	if r.cfg.Cluster == nil {
		return ""
	}
	return r.cfg.Cluster()
}

// labelled reports whether an object says that it is of another cluster. What was made before an agent had joined says
// nothing.
func (o others) labelled(x metav1.Object) bool {
	cluster := x.GetLabels()[render.LabelCluster]
	return cluster != "" && cluster != render.LocalCluster && cluster != o.mine
}

func (o others) have(s *space, run flink.Run) bool {
	_, ok := o.runs[s.namespace][run]
	return ok
}

// own reports whether an object is another's: by its own label, or as one of a run that is.
func (o others) own(s *space, x metav1.Object) bool {
	if o.labelled(x) {
		return true
	}
	run, ok := runOf(x)
	return ok && o.have(s, run)
}

// sorted are the runs of others in an order that does not change.
func (o others) sorted() []Ended {
	var out []Ended
	for _, of := range o.runs {
		out = slices.AppendSeq(out, maps.Values(of))
	}
	slices.SortFunc(out, func(a, b Ended) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(render.Name(a.Run), render.Name(b.Run)))
	})
	return out
}
