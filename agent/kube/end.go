package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// lookAgain is how often the API server itself is asked whether a run is gone, once the watches say so.
const lookAgain = time.Second

// End implements reconcile.Runtime. What Flink has put down of the run's
// checkpoints stays until Collect; the job's graph goes, so that nothing can
// start the job again under this run's name.
//
// Where Kubernetes was just about to make a pod of it, that pod may be seen for
// a moment after End has returned. It finds neither its configuration nor the
// graph, so it runs nothing, and goes with its owner.
func (r *Runtime) End(ctx context.Context, run flink.Run) error {
	spaces, err := r.settled(run.UID)
	if err != nil {
		return fmt.Errorf("end run %s: %w", run, err)
	}
	own := r.namespaceOf(run.UID)
	for _, s := range spaces {
		here := slices.ContainsFunc(s.seen(run.UID), func(x *seen) bool { return x.run == run })
		if !here && own != "" && own != s.namespace {
			continue
		}
		if err := r.endIn(ctx, s, run); err != nil {
			return fmt.Errorf("end run %s: %w", run, err)
		}
	}
	return nil
}

func (r *Runtime) endIn(ctx context.Context, s *space, run flink.Run) error {
	if err := r.deletePods(ctx, s, run); err != nil {
		return err
	}
	if err := r.deleteHA(ctx, s, run, func(cm *corev1.ConfigMap) bool { return !isPointers(run, cm) }); err != nil {
		return err
	}
	return r.deleteAnchor(ctx, s, run)
}

// deletePods deletes the run's Deployments and returns when no pod is left.
func (r *Runtime) deletePods(ctx context.Context, s *space, run flink.Run) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var last remains
	for {
		rung := r.bell.heard()
		left, err := r.left(ctx, s, run)
		switch {
		case err != nil && ctx.Err() != nil && last.any():
			return fmt.Errorf("%s: %w", last, context.Cause(ctx))
		case err != nil:
			return err
		case !left.any():
			return nil
		}
		last = left
		for i := range left.deployments {
			d := &left.deployments[i]
			if d.DeletionTimestamp != nil {
				continue
			}
			err := r.client.AppsV1().Deployments(s.namespace).Delete(ctx, d.Name, precisely(d, metav1.DeletePropagationForeground))
			switch {
			case err == nil, over(err):
			case ctx.Err() != nil: // it may have been carried out all the same: what was there matters
				return fmt.Errorf("%s: %w", left, context.Cause(ctx))
			default:
				return fmt.Errorf("delete Deployment %s: %w", d.Name, err)
			}
		}
		// The watches tell when it is worth asking again.
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", left, context.Cause(ctx))
			case <-rung:
				rung = r.bell.heard()
				waiting = s.shows(run)
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// shows reports whether the watches still show a Deployment or pod of a run.
func (s *space) shows(run flink.Run) bool {
	return slices.ContainsFunc(s.seen(run.UID), func(x *seen) bool {
		return x.run == run && (x.jobManager != nil || x.taskManager != nil || len(x.pods) > 0)
	})
}

// remains is what the API server itself has of a run.
type remains struct {
	deployments []appsv1.Deployment
	pods        []corev1.Pod
}

func (l remains) any() bool { return len(l.deployments)+len(l.pods) > 0 }

// left asks the API server for what there is of a run.
func (r *Runtime) left(ctx context.Context, s *space, run flink.Run) (remains, error) {
	o := metav1.ListOptions{LabelSelector: selectRun(run)}
	ds, err := r.client.AppsV1().Deployments(s.namespace).List(ctx, o)
	if err != nil {
		return remains{}, fmt.Errorf("list its Deployments: %w", err)
	}
	pods, err := r.client.CoreV1().Pods(s.namespace).List(ctx, o)
	if err != nil {
		return remains{}, fmt.Errorf("list its pods: %w", err)
	}
	return remains{ds.Items, pods.Items}, nil
}

// String says what is left, for people.
func (l remains) String() string {
	var words []string
	for i := range l.pods {
		p := &l.pods[i]
		on := ""
		if p.Spec.NodeName != "" {
			on = " on node " + p.Spec.NodeName
		}
		words = append(words, "pod "+p.Name+on)
	}
	for i := range l.deployments {
		words = append(words, "Deployment "+l.deployments[i].Name)
	}
	return strings.Join(words, ", ") + " not gone yet"
}

// isPointers reports whether a ConfigMap of Flink's records the checkpoints of the run's job.
func isPointers(run flink.Run, cm *corev1.ConfigMap) bool {
	return cm.Name == render.CheckpointConfigMap(run) && !hasGraph(cm)
}

// deleteHA deletes the high availability ConfigMaps of exactly that run which
// are chosen, those with a graph first: a graph without its record of
// checkpoints starts the job from empty.
func (r *Runtime) deleteHA(ctx context.Context, s *space, run flink.Run, chosen func(*corev1.ConfigMap) bool) error {
	maps := r.client.CoreV1().ConfigMaps(s.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: selectRunHA(run)})
	if err != nil {
		return fmt.Errorf("list its high availability data: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.ConfigMap) int { return order(run, &a) - order(run, &b) })
	for i := range list.Items {
		cm := &list.Items[i]
		if !chosen(cm) {
			continue
		}
		if err := maps.Delete(ctx, cm.Name, precisely(cm, metav1.DeletePropagationBackground)); err != nil && !over(err) {
			return fmt.Errorf("delete ConfigMap %s: %w", cm.Name, err)
		}
	}
	return nil
}

// order is in which order high availability ConfigMaps are deleted.
func order(run flink.Run, cm *corev1.ConfigMap) int {
	switch {
	case hasGraph(cm):
		return 0
	case !isPointers(run, cm):
		return 1
	}
	return 2
}

// deleteAnchor deletes the run's anchor; what it owns goes with it.
func (r *Runtime) deleteAnchor(ctx context.Context, s *space, run flink.Run) error {
	maps := r.client.CoreV1().ConfigMaps(s.namespace)
	name := render.Name(run)
	cm, err := maps.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %s: %w", name, err)
	}
	if of, ok := runOf(cm); !ok || of != run {
		return fmt.Errorf("ConfigMap %s is not labelled as this run's: it is not deleted", name)
	}
	if err := maps.Delete(ctx, name, precisely(cm, metav1.DeletePropagationBackground)); err != nil && !over(err) {
		return fmt.Errorf("delete ConfigMap %s: %w", name, err)
	}
	r.await(ctx, seenLimit, func() bool {
		_, meta, ok := s.live("ConfigMap", name)
		return !ok || meta.GetUID() != cm.UID
	})
	return nil
}

// precisely deletes that very object and no other of its name.
func precisely(o metav1.Object, how metav1.DeletionPropagation) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(o.GetUID())}, PropagationPolicy: &how}
}

// over reports whether a delete found that there is nothing to delete any more.
func over(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }
