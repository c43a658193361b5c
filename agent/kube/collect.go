package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Collect implements reconcile.Runtime. keep are the runs that the job's record
// names, the current one first. Of all others that have no process any more it
// removes what is left, Flink's record of their checkpoints last; and it leads
// the job's Service to the current run. It asks the API server for nothing where
// the watches show nothing to do.
func (r *Runtime) Collect(ctx context.Context, uid string, keep []flink.Run) error {
	spaces, err := r.settled(uid)
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	for _, s := range spaces {
		runs := s.seen(uid)
		for _, x := range runs {
			if slices.Contains(keep, x.run) {
				if err := r.tryAgain(ctx, s, x); err != nil {
					return fmt.Errorf("collect: %w", err)
				}
				continue
			}
			if s.shows(x.run) || x.anchor == nil && len(x.ha) == 0 {
				continue
			}
			if err := r.collectRun(ctx, s, x.run); err != nil {
				return fmt.Errorf("collect run %s: %w", x.run, err)
			}
		}
		if err := r.jobService(ctx, s, uid, runs, keep); err != nil {
			return fmt.Errorf("collect: %w", err)
		}
	}
	return nil
}

// When pods are asked for again that could not be made.
const (
	refusedFor = 5 * time.Second
	tryEvery   = 30 * time.Second
	triedAgain = "waterwheel.dev/tried-again" // annotation of a Deployment: when they were last asked for
)

// tryAgain asks for the pods of a run that could not be made. Their controller tries ever more seldom, up to a quarter of an
// hour, also when what stood against them, a quota for example, has gone; a Deployment that changes is tried at once.
func (r *Runtime) tryAgain(ctx context.Context, s *space, x *seen) error {
	for _, d := range []*appsv1.Deployment{x.jobManager, x.taskManager} {
		if d == nil || d.DeletionTimestamp != nil {
			continue
		}
		c := podsRefused(d)
		if c == nil || !r.memo.tryNow(s.namespace+"/"+d.Name, c.LastTransitionTime.Time, time.Now()) {
			continue
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, triedAgain, time.Now().UTC().Format(time.RFC3339))
		_, err := r.client.AppsV1().Deployments(s.namespace).Patch(ctx, d.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Manager})
		if err != nil && !over(err) {
			return answered("Deployment "+d.Name, s.namespace, err)
		}
	}
	return nil
}

// podsRefused is the condition of a Deployment whose pods could not be made; nil: they could.
func podsRefused(d *appsv1.Deployment) *appsv1.DeploymentCondition {
	for i := range d.Status.Conditions {
		if c := &d.Status.Conditions[i]; c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// collectRun removes what is left of a run, if it is gone indeed.
func (r *Runtime) collectRun(ctx context.Context, s *space, run flink.Run) error {
	left, err := r.left(ctx, s, run)
	if err != nil || left.any() {
		return err
	}
	if err := r.deleteAnchor(ctx, s, run); err != nil {
		return err
	}
	if err := r.deleteHA(ctx, s, run, func(*corev1.ConfigMap) bool { return true }); err != nil {
		return err
	}
	s.remembered.forget(run)
	r.log.Info("what was left of a run is removed", "run", run.Name(), "namespace", s.namespace)
	r.await(ctx, seenLimit, func() bool {
		return !slices.ContainsFunc(s.seen(run.UID), func(x *seen) bool { return x.run == run && len(x.ha) > 0 })
	})
	return nil
}

// jobService leads the job's Service to its current run, and removes it with the job.
func (r *Runtime) jobService(ctx context.Context, s *space, uid string, runs []*seen, keep []flink.Run) error {
	if len(keep) == 0 {
		if len(runs) > 0 {
			return nil // the job was forgotten, and runs on
		}
		return r.deleteJobServices(ctx, s, uid)
	}
	i := slices.IndexFunc(runs, func(x *seen) bool { return x.run == keep[0] && x.anchor != nil && x.anchor.DeletionTimestamp == nil })
	if i < 0 {
		return nil
	}
	l, err := r.launchOf(s, runs[i])
	if err != nil {
		return err
	}
	place, ok := r.place(l.Tenant)
	if !ok || place.Namespace != s.namespace {
		return nil
	}
	want, err := render.JobService(l, place)
	if err != nil {
		return err
	}
	if drift, err := r.drift(s, want); err != nil || drift == "" || s.othersService(want) {
		return err
	}
	if _, _, ok := s.live("Service", want.Name); !ok {
		return r.createJobService(ctx, s, want)
	}
	return r.applyTo(ctx, s, want)
}

// createJobService makes the job's Service, unless somebody else has one of that name: theirs stays as it is, and it is
// asked again now and then whether it is still there.
func (r *Runtime) createJobService(ctx context.Context, s *space, want *corev1.Service) error {
	if r.memo.foreign(s.namespace, want, time.Now()) {
		return nil
	}
	made, err := r.client.CoreV1().Services(s.namespace).Create(ctx, want, metav1.CreateOptions{FieldManager: Manager})
	if apierrors.IsAlreadyExists(err) {
		return r.meetService(ctx, s, want)
	}
	if err != nil {
		return answered(title(want), s.namespace, err)
	}
	r.memo.setOurs(s.namespace, want)
	s.awaitVersion(ctx, r, "Service", want.Name, made.ResourceVersion)
	return nil
}

// meetService looks whose Service of the name of a job's there is that the watches do not show: the job's own, if they lag
// behind.
func (r *Runtime) meetService(ctx context.Context, s *space, want *corev1.Service) error {
	live, err := r.client.CoreV1().Services(s.namespace).Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil // another pass makes it
	case err != nil:
		return answered(title(want), s.namespace, err)
	case live.Labels[render.LabelManagedBy] == render.ManagedBy && live.Labels[render.LabelUID] == want.Labels[render.LabelUID]:
		return r.applyTo(ctx, s, want)
	}
	if r.memo.setForeign(s.namespace, want, time.Now()) {
		r.log.Warn("the job's Service cannot be made: there is another of that name", "service", want.Name, "namespace", s.namespace)
	}
	return nil
}

func (r *Runtime) deleteJobServices(ctx context.Context, s *space, uid string) error {
	for _, svc := range each[*corev1.Service](s.services, uid) {
		if _, ofRun := runOf(svc); ofRun {
			continue
		}
		live, err := r.client.CoreV1().Services(s.namespace).Get(ctx, svc.Name, metav1.GetOptions{})
		if err == nil && live.Labels[render.LabelUID] == uid {
			err = r.client.CoreV1().Services(s.namespace).Delete(ctx, svc.Name, precisely(live, metav1.DeletePropagationBackground))
		}
		if err != nil && !over(err) {
			return fmt.Errorf("delete Service %s: %w", svc.Name, err)
		}
	}
	return nil
}
