package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// deletionLimit is how long Ensure waits for an object that is being deleted before it can be put back.
const deletionLimit = 15 * time.Second

// Ensure implements reconcile.Runtime. A run that exists is put back as it was
// made, whatever this agent would make of the same launch today.
func (r *Runtime) Ensure(ctx context.Context, l flink.Launch) error {
	place, ok := r.place(l.Tenant)
	if !ok {
		return refuse(flink.RefusedTenant, "tenant %s has no namespace in this cluster: the agent's chart makes one if its value tenants[] names it", l.Tenant)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	e := ensuring{Runtime: r, launch: l, place: place, space: r.spaces[place.Namespace]}
	if err := e.space.health(); err != nil {
		return fmt.Errorf("ensure run %s: namespace %s cannot be seen: %w", l.Run, place.Namespace, err)
	}
	if err := e.do(ctx); err != nil {
		return fmt.Errorf("ensure run %s: %w", l.Run, err)
	}
	return nil
}

// ensuring is one call of Ensure.
type ensuring struct {
	*Runtime
	launch flink.Launch
	place  render.Place
	space  *space
}

func (e *ensuring) do(ctx context.Context) error {
	if err := e.admit(); err != nil {
		return err
	}
	anchor, err := e.anchor(ctx)
	if err != nil {
		return err
	}
	found := e.read(anchor)
	if found.damaged != nil {
		return found.damaged
	}
	// What pods need before the pods themselves.
	var before, pods []func(context.Context) error
	for _, want := range found.objects {
		drift, err := e.drift(e.space, want)
		if err != nil {
			return err
		}
		if drift == "" {
			continue
		}
		put := func(ctx context.Context) error { return e.put(ctx, want) }
		if want.GetObjectKind().GroupVersionKind().Kind == "Deployment" {
			pods = append(pods, put)
		} else {
			before = append(before, put)
		}
	}
	// Who deletes one object may have deleted the Secret too, which no watch shows.
	if len(before)+len(pods) > 0 || e.podsMissSecret() {
		before = append(before, func(ctx context.Context) error { return e.createSecret(ctx, e.launch, e.place, anchor) })
	}
	if err := together(ctx, before); err != nil {
		return err
	}
	return together(ctx, pods)
}

// admit refuses a run that has no pods yet and for which there is no room: one
// that is there is not given up for want of it.
func (e *ensuring) admit() error {
	for _, name := range []string{render.JobManagerName(e.launch.Run), render.TaskManagerName(e.launch.Run)} {
		if _, _, ok := e.space.live("Deployment", name); ok {
			return nil
		}
	}
	room, want := e.space.room(), e.launch.Spec.MemoryBytes()
	if want > room.Free() {
		return refuse(flink.RefusedNoRoom, "the run declares %d MiB of memory, %s leaves %d MiB", want>>20, room.Limit, max(room.Free(), 0)>>20)
	}
	return nil
}

// together does all at once and returns when all are done.
func together(ctx context.Context, all []func(context.Context) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// podsMissSecret reports whether pods say that the run's Secret is missing.
func (e *ensuring) podsMissSecret() bool {
	return slices.ContainsFunc(e.space.seen(e.launch.Run.UID), func(x *seen) bool {
		return x.run == e.launch.Run && e.secretMissing(x)
	})
}

// anchor finds the run's anchor, or makes it. There is one for ever: what it says cannot be changed.
func (e *ensuring) anchor(ctx context.Context) (*corev1.ConfigMap, error) {
	name := render.Name(e.launch.Run)
	if o, _, ok := e.space.live("ConfigMap", name); ok {
		if cm, ok := o.(*corev1.ConfigMap); ok {
			return e.adopt(ctx, cm)
		}
	}
	rendered, err := render.Run(e.launch, e.place)
	if err != nil {
		return nil, err
	}
	fresh := rendered.ConfigMap.DeepCopy()
	fresh.Immutable = new(true)
	maps := e.client.CoreV1().ConfigMaps(e.place.Namespace)
	made, err := maps.Create(ctx, fresh, metav1.CreateOptions{FieldManager: Manager})
	if apierrors.IsAlreadyExists(err) {
		if made, err = maps.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return nil, fmt.Errorf("read ConfigMap %s: %w", name, err)
		}
		return e.adopt(ctx, made)
	}
	if err != nil {
		return nil, written(fresh, e.place.Namespace, err)
	}
	e.log.Info("run's objects are made", "run", e.launch.Run.Name(), "namespace", e.place.Namespace)
	e.awaitVersion(ctx, "ConfigMap", name, made.ResourceVersion)
	return made, nil
}

// adopt takes an anchor that is there, if it is this run's, and gives it back the labels it lost.
func (e *ensuring) adopt(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	if cm.DeletionTimestamp != nil {
		return nil, fmt.Errorf("ConfigMap %s is being deleted, and the run with it", cm.Name)
	}
	o, err := render.ObjectsOf(cm)
	if err != nil {
		return nil, err
	}
	want := labelsOfAnchor(o)
	have := cm.Labels
	complete := cm.DeepCopy()
	complete.Labels = maps.Clone(have)
	if complete.Labels == nil {
		complete.Labels = map[string]string{}
	}
	maps.Copy(complete.Labels, want)
	l, err := render.LaunchOf(complete)
	if err != nil {
		return nil, err
	}
	if l.Tenant != e.launch.Tenant || !flink.SpecEqual(l.Spec, e.launch.Spec) {
		return nil, fmt.Errorf("ConfigMap %s was made for another spec of this job", cm.Name)
	}
	if maps.Equal(complete.Labels, have) {
		return cm, nil
	}
	bare := &corev1.ConfigMap{TypeMeta: o.ConfigMap.TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: cm.Name, Namespace: cm.Namespace, Labels: want}}
	return complete, e.put(ctx, bare)
}

// poster is the client that makes objects of a kind.
func (r *Runtime) poster(kind string) rest.Interface {
	switch kind {
	case "Deployment":
		return r.client.AppsV1().RESTClient()
	case "NetworkPolicy":
		return r.client.NetworkingV1().RESTClient()
	}
	return r.client.CoreV1().RESTClient()
}

// put applies an object. One that is on its way out is waited for first.
func (e *ensuring) put(ctx context.Context, want render.Object) error {
	kind, name := want.GetObjectKind().GroupVersionKind().Kind, want.GetName()
	if _, meta, ok := e.space.live(kind, name); ok && meta.GetDeletionTimestamp() != nil {
		if !e.awaitGone(ctx, kind, name, meta.GetUID()) {
			return fmt.Errorf("%s is being deleted since %s, and cannot be put back before it is gone", title(want), clock(deletedAt(meta)))
		}
	}
	if _, _, ok := e.space.live(kind, name); !ok {
		made, err := e.create(ctx, want)
		if made || err != nil {
			return err
		}
	}
	return e.applyTo(ctx, e.space, want)
}

// create makes an object that the watches do not show: that costs the API server half of what an apply does. made is
// false where there is one already.
func (e *ensuring) create(ctx context.Context, want render.Object) (made bool, err error) {
	kind, name := want.GetObjectKind().GroupVersionKind().Kind, want.GetName()
	done, ok := reflect.TypeAssert[render.Object](reflect.New(reflect.TypeOf(want).Elem()))
	if !ok {
		return false, nil
	}
	err = e.poster(kind).Post().Namespace(e.space.namespace).Resource(resources[kind].Resource).
		VersionedParams(&metav1.CreateOptions{FieldManager: Manager}, scheme.ParameterCodec).Body(want).Do(ctx).Into(done)
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, written(want, e.space.namespace, err)
	}
	if err := e.created(want, done); err != nil {
		return true, err
	}
	e.awaitVersion(ctx, kind, name, done.GetResourceVersion())
	return true, nil
}

// created takes what the cluster made of an object that was created.
func (e *ensuring) created(want, done render.Object) error {
	if asAsked(want, done) {
		e.memo.yield(e.space.namespace, want, nil)
		return nil
	}
	w, err := applied(want)
	if err != nil {
		return err
	}
	have, err := fieldsOf(done)
	if err != nil {
		return err
	}
	e.accept(e.space, want, w, have)
	return nil
}

// asAsked reports whether the cluster made of a new object what was asked for. It looks at done as it is, which is much
// cheaper than a comparison field by field, and passes over a zero where something else stands now: that is found as drift.
func asAsked(want, done render.Object) bool {
	done.GetObjectKind().SetGroupVersionKind(want.GetObjectKind().GroupVersionKind()) // an answer's kind is that of its Go type
	done.SetCreationTimestamp(want.GetCreationTimestamp())
	return equality.Semantic.DeepDerivative(want, done)
}

// applyTo applies an object and waits until the watches show it.
func (r *Runtime) applyTo(ctx context.Context, s *space, want render.Object) error {
	w, err := applied(want)
	if err != nil {
		return err
	}
	text, err := render.Apply(want)
	if err != nil {
		return fmt.Errorf("write %s: %w", title(want), err)
	}
	kind, name := want.GetObjectKind().GroupVersionKind().Kind, want.GetName()
	done, err := r.apply.Resource(resources[kind]).Namespace(s.namespace).Patch(ctx, name, types.ApplyPatchType, text,
		metav1.PatchOptions{FieldManager: Manager, Force: new(true)})
	if err != nil {
		return written(want, s.namespace, err)
	}
	r.accept(s, want, w, done.Object)
	s.awaitVersion(ctx, r, kind, name, done.GetResourceVersion())
	return nil
}

// accept takes what the cluster made of an object that was written.
func (r *Runtime) accept(s *space, want render.Object, w, done fields) {
	r.log.Debug("object written", "object", title(want), "namespace", s.namespace)
	if ds := differences(w, done); r.memo.yield(s.namespace, want, ds) {
		r.log.Warn("the cluster changes what is applied, and it stays so", "object", title(want), "namespace", s.namespace,
			"difference", ds[0].words, "fields", len(ds))
	}
}

func (e *ensuring) awaitVersion(ctx context.Context, kind, name, version string) {
	e.space.awaitVersion(ctx, e.Runtime, kind, name, version)
}

// awaitVersion returns when the watches show an object as new as it was written, or after a while.
func (s *space) awaitVersion(ctx context.Context, r *Runtime, kind, name, version string) {
	r.await(ctx, seenLimit, func() bool {
		_, meta, ok := s.live(kind, name)
		if !ok {
			return false
		}
		n, err := resourceversion.CompareResourceVersion(meta.GetResourceVersion(), version)
		return err == nil && n >= 0
	})
}

// awaitGone reports whether an object that is being deleted went away in time.
func (e *ensuring) awaitGone(ctx context.Context, kind, name string, uid types.UID) bool {
	return e.await(ctx, deletionLimit, func() bool {
		_, meta, ok := e.space.live(kind, name)
		return !ok || meta.GetUID() != uid
	})
}
