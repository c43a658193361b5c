package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

const (
	abreast   = 8                // runs that are ended at the same time
	seenAtAll = 30 * time.Second // for all watches to be up
)

// Ended is a run that EndAll ended, or left.
type Ended struct {
	Run          flink.Run
	Namespace    string
	Tenant, Name string // of its job; "" where that is not on record
	Other        string // the cluster it is labelled with, if that is not this one: it was left as it is
	Newest       string // path of its newest checkpoint; "" where there is none, or it is not on record
}

// Removed counts what EndAll removed. Pods are not objects of ours, and Secrets of runs cannot be seen.
type Removed struct{ Runs, Objects int }

// EndAll ends every run in all namespaces of tenants, and then removes what is left of them and of their jobs. It is for
// an agent that goes for good, and for the holder of the Lease alone; Run has to run. State in storage stays.
//
// Flink's record of checkpoints is removed only after all runs have ended: until then an agent that acts again starts
// each job from its newest checkpoint, so that an EndAll that came to nothing costs no state. Whatever cannot be ended is
// named. A hold of a person does not keep a run from its end: to remove the agent with its jobs is a person's word too.
//
// Agents may share a namespace by mistake: a run that is labelled with another cluster than Config.Cluster is another
// agent's. It is told as such and nothing of it is touched.
//
// told is called for each run that has ended or is another's, never twice at the same time.
func (r *Runtime) EndAll(ctx context.Context, told func(Ended)) (Removed, error) {
	if err := r.seeAll(ctx); err != nil {
		return Removed{}, err
	}
	others := r.others()
	for _, o := range others.sorted() {
		told(o)
	}
	objects := map[string]bool{}
	var removed Removed
	var errs []error
	var mu sync.Mutex // guards the two above, and told
	var ending sync.WaitGroup
	places := make(chan struct{}, abreast)
	for _, name := range slices.Sorted(maps.Keys(r.spaces)) {
		s := r.spaces[name]
		s.inventory(others, objects)
		for _, x := range s.living() {
			if others.have(s, x.run) {
				continue
			}
			ending.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				e, err := r.endForGood(ctx, s, x)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, fmt.Errorf("end run %s in namespace %s: %w", render.Name(x.run), s.namespace, err))
					return
				}
				removed.Runs++
				told(e)
			})
		}
	}
	ending.Wait()
	if len(errs) > 0 {
		slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return removed, errors.Join(errs...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.spaces)) {
		if err := r.clear(ctx, r.spaces[name], others, objects); err != nil {
			errs = append(errs, fmt.Errorf("clear namespace %s: %w", name, err))
		}
	}
	removed.Objects = len(objects)
	return removed, errors.Join(errs...)
}

// Empty reports whether there is nothing of any run of this agent in any namespace of a tenant. Run has to run.
func (r *Runtime) Empty(ctx context.Context) (bool, error) {
	if err := r.seeAll(ctx); err != nil {
		return false, err
	}
	others := r.others()
	objects := map[string]bool{}
	for _, s := range r.spaces {
		s.inventory(others, objects)
		ours := slices.ContainsFunc(s.living(), func(x *seen) bool { return !others.have(s, x.run) })
		if len(objects) > 0 || ours {
			return false, nil
		}
	}
	return true, nil
}

// seeAll returns when all namespaces can be seen, or says which cannot. A namespace that is not there any more looks like
// one that nothing may be seen of.
func (r *Runtime) seeAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seenAtAll)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(r.spaces)) {
			if err := r.spaces[name].health(); err != nil {
				errs = append(errs, fmt.Errorf("namespace %s cannot be seen: %w", name, err))
			}
		}
		if len(errs) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(errs...)
		}
	}
}

// living are the runs that are more than Flink's own record of them.
func (s *space) living() []*seen {
	uids := map[string]bool{}
	for _, w := range []*watched{s.anchors, s.deployments, s.pods} {
		for _, uid := range w.GetIndexer().ListIndexFuncValues(byJob) {
			uids[uid] = true
		}
	}
	var out []*seen
	for _, uid := range slices.Sorted(maps.Keys(uids)) {
		for _, x := range s.seen(uid) {
			if x.anchor != nil || x.jobManager != nil || x.taskManager != nil || len(x.pods) > 0 {
				out = append(out, x)
			}
		}
	}
	return out
}

// endForGood ends one run, and finds out what was its newest checkpoint.
func (r *Runtime) endForGood(ctx context.Context, s *space, x *seen) (Ended, error) {
	e := Ended{Run: x.run, Namespace: s.namespace}
	if err := r.endIn(ctx, s, x.run); err != nil {
		return e, err
	}
	if x.anchor == nil {
		return e, nil
	}
	l, err := render.LaunchOf(x.anchor)
	if err != nil {
		return e, nil //nolint:nilerr // it has ended; of which job it was is not on record
	}
	e.Tenant, e.Name = l.Tenant, l.Name
	dirs := config.Dirs(config.StateRoot(l.Spec, r.cfg.Tenants[l.Tenant].StateRoot), l.Tenant, l.Run)
	if newest, err := r.Snapshots().Newest(ctx, x.run, dirs.Checkpoints); err == nil {
		e.Newest = newest.Path
	}
	return e, nil
}

// belongs reports whether an object is a run's, its job's, or Flink's record of it, by its labels and its name both.
func belongs(o metav1.Object) bool {
	if run, ok := runOf(o); ok {
		name := render.Name(run)
		return o.GetName() == name || strings.HasPrefix(o.GetName(), name+"-")
	}
	l := o.GetLabels()
	return l[render.LabelManagedBy] == render.ManagedBy && l[render.LabelUID] != "" && o.GetName() == render.JobServiceName(l[render.LabelJob])
}

// inventory notes the objects that the watches show, but for those of others.
func (s *space) inventory(others others, objects map[string]bool) {
	for _, w := range []*watched{s.anchors, s.ha, s.deployments, s.services, s.policies} {
		for _, o := range w.GetStore().List() {
			if m, ok := o.(metav1.Object); ok && belongs(m) && !others.own(s, m) {
				objects[s.namespace+"/"+w.what+"/"+m.GetName()] = true
			}
		}
	}
}

// remnant is an object that is to be removed.
type remnant struct {
	metav1.Object

	what   string
	order  int
	delete func(context.Context, string, metav1.DeleteOptions) error
}

// clear removes what is left in a namespace after all runs have ended, and returns when the API server has nothing of it
// any more. What an anchor owned usually goes by itself; it is not waited for.
func (r *Runtime) clear(ctx context.Context, s *space, others others, objects map[string]bool) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var last []remnant
	for {
		left, err := r.remnants(ctx, s)
		left = slices.DeleteFunc(left, func(o remnant) bool { return others.own(s, o) })
		switch {
		case err != nil && ctx.Err() != nil && len(last) > 0:
			return fmt.Errorf("%s not gone yet: %w", names(last), context.Cause(ctx))
		case err != nil || len(left) == 0:
			return err
		}
		last = left
		for _, o := range left {
			objects[s.namespace+"/"+o.what+"/"+o.GetName()] = true
			if o.GetDeletionTimestamp() != nil {
				continue
			}
			err := o.delete(ctx, o.GetName(), precisely(o, metav1.DeletePropagationBackground))
			switch {
			case err == nil, over(err):
			case ctx.Err() != nil: // it may have been carried out all the same
				return fmt.Errorf("%s not gone yet: %w", names(left), context.Cause(ctx))
			default:
				return fmt.Errorf("delete %s %s: %w", o.what, o.GetName(), err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s not gone yet: %w", names(left), context.Cause(ctx))
		}
	}
}

func names(left []remnant) string {
	var words []string
	for _, o := range left {
		words = append(words, o.what+" "+o.GetName())
	}
	return strings.Join(words, ", ")
}

// remnants asks the API server for all that is left in a namespace, in the order in which it is to go: the graph of a job
// before the record of its checkpoints, without which it would start from empty.
func (r *Runtime) remnants(ctx context.Context, s *space) ([]remnant, error) {
	core, apps, net := r.client.CoreV1(), r.client.AppsV1(), r.client.NetworkingV1()
	var out []remnant
	deployments, err := apps.Deployments(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selectOurs})
	if err != nil {
		return nil, fmt.Errorf("list Deployments: %w", err)
	}
	out = with(out, deployments.Items, func(o *appsv1.Deployment) remnant {
		return remnant{o, s.deployments.what, 0, apps.Deployments(s.namespace).Delete}
	})
	services, err := core.Services(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selectOurs})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	out = with(out, services.Items, func(o *corev1.Service) remnant {
		return remnant{o, s.services.what, 0, core.Services(s.namespace).Delete}
	})
	policies, err := net.NetworkPolicies(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selectOurs})
	if err != nil {
		return nil, fmt.Errorf("list NetworkPolicies: %w", err)
	}
	out = with(out, policies.Items, func(o *networkingv1.NetworkPolicy) remnant {
		return remnant{o, s.policies.what, 0, net.NetworkPolicies(s.namespace).Delete}
	})
	for _, selector := range []string{selectOurs, selectHA} {
		cms, err := core.ConfigMaps(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, fmt.Errorf("list ConfigMaps: %w", err)
		}
		out = with(out, cms.Items, func(o *corev1.ConfigMap) remnant {
			turn := 0
			if run, ok := runOf(o); ok && selector == selectHA {
				turn = 1 + order(run, o)
			}
			return remnant{o, s.anchors.what, turn, core.ConfigMaps(s.namespace).Delete}
		})
	}
	slices.SortStableFunc(out, func(a, b remnant) int { return a.order - b.order })
	return out, nil
}

// with adds those of a list that belong to runs or jobs.
func with[T any, P interface {
	*T
	runtime.Object
	metav1.Object
}](out []remnant, items []T, as func(P) remnant) []remnant {
	for i := range items {
		if o := P(&items[i]); belongs(o) {
			out = append(out, as(o))
		}
	}
	return out
}
