package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/waterwheel-io/waterwheel/agent/render"
)

// space is what is watched in one tenant's namespace. Services and policies are
// watched whole, not their metadata alone: a change by hand is seen by what they
// hold, and ours are few and small.
type space struct {
	namespace   string
	anchors     *watched
	ha          *watched
	deployments *watched
	services    *watched
	policies    *watched
	pods        *watched
	quotas      *watched
	remembered  *remembered
}

func (s *space) all() []*watched {
	return []*watched{s.anchors, s.ha, s.deployments, s.services, s.policies, s.pods, s.quotas}
}

// watched is one kind of object in one namespace, and whether it is seen now.
type watched struct {
	cache.SharedIndexInformer
	what string
	link link
}

// byJob indexes objects by the uid of their job.
const byJob = "job"

// newSpace prepares the watches of a namespace. changed is called with what it
// was and is, either may be nil.
func newSpace(client kubernetes.Interface, namespace string, changed func(before, now metav1.Object)) (*space, error) {
	s := &space{namespace: namespace, remembered: newRemembered()}
	core, apps, net := client.CoreV1().RESTClient(), client.AppsV1().RESTClient(), client.NetworkingV1().RESTClient()
	for _, k := range []struct {
		to       **watched
		from     cache.Getter
		resource string
		example  runtime.Object
		selector string
		keep     cache.TransformFunc
	}{
		{&s.anchors, core, "configmaps", &corev1.ConfigMap{}, selectOurs, withoutManagers},
		{&s.ha, core, "configmaps", &corev1.ConfigMap{}, selectHA, keysAlone},
		{&s.deployments, apps, "deployments", &appsv1.Deployment{}, selectOurs, withoutManagers},
		{&s.services, core, "services", &corev1.Service{}, selectOurs, withoutManagers},
		{&s.policies, net, "networkpolicies", &networkingv1.NetworkPolicy{}, selectOurs, withoutManagers},
		{&s.pods, core, "pods", &corev1.Pod{}, selectOurs, withoutManagers},
		{&s.quotas, core, "resourcequotas", &corev1.ResourceQuota{}, "", withoutManagers},
	} {
		w := &watched{what: k.resource}
		w.link.answer(errors.New("not listed yet since this agent began"))
		lw := cache.NewFilteredListWatchFromClient(k.from, k.resource, namespace, func(o *metav1.ListOptions) { o.LabelSelector = k.selector })
		w.SharedIndexInformer = cache.NewSharedIndexInformerWithOptions(w.link.over(lw), k.example, cache.SharedIndexInformerOptions{
			Indexers: cache.Indexers{byJob: jobOf},
		})
		if err := w.SetTransform(k.keep); err != nil {
			return nil, fmt.Errorf("watch %s: %w", k.resource, err)
		}
		if err := w.SetWatchErrorHandlerWithContext(quietly); err != nil {
			return nil, fmt.Errorf("watch %s: %w", k.resource, err)
		}
		if _, err := w.AddEventHandler(handler(changed)); err != nil {
			return nil, fmt.Errorf("watch %s: %w", k.resource, err)
		}
		*k.to = w
	}
	if _, err := s.ha.AddEventHandler(s.remembered.handler()); err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.ha.what, err)
	}
	return s, nil
}

// run watches until ctx ends.
func (s *space) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range s.all() {
		all.Go(func() { w.RunWithContext(ctx) })
	}
	all.Wait()
}

// quietly logs a watch that ended: what cannot be seen is said by those who look.
func quietly(ctx context.Context, _ *cache.Reflector, err error) {
	klog.FromContext(ctx).V(4).Info("watch ended", "err", err)
}

// health says why what is held of the namespace may not be true any more.
func (s *space) health() error {
	for _, w := range s.all() {
		if err := w.link.broken(); err != nil {
			return fmt.Errorf("watch %s: %w", w.what, err)
		}
		if !w.HasSynced() {
			return fmt.Errorf("watch %s: not all of them are here yet", w.what)
		}
	}
	return nil
}

// silentLimit is how long a list or a watch may be without an answer, and how long there may be no watch at all, before
// nothing is believed any more. The client itself tries much longer, and waits for up to half a minute in between.
const silentLimit = 5 * time.Second

// link is whether a watch is up: the last try to list or watch went well, none is without an answer, and what was begun
// has not ended.
type link struct {
	mu    sync.Mutex
	err   error
	asked time.Time // zero: there is no question under way
	ended time.Time // of the watch; zero: none has ended since the last answer
}

func (l *link) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = time.Now()
}

func (l *link) answer(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.asked, l.ended = err, time.Time{}, time.Time{}
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = time.Now()
}

func (l *link) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	long := func(since time.Time) bool { return !since.IsZero() && time.Since(since) > silentLimit }
	switch {
	case l.err != nil:
		return l.err
	case long(l.ended):
		return fmt.Errorf("it ended at %s, and there is no other yet", clock(l.ended))
	case long(l.asked):
		return fmt.Errorf("the API server has not answered since %s", clock(l.asked))
	}
	return nil
}

// noted is a watch whose end its link is told of. Whoever reads it stops it as soon as it has ended, with an error or
// without.
type noted struct {
	watch.Interface

	link *link
	once sync.Once // it may be stopped twice, the second time after another has begun
}

// Stop implements watch.Interface.
func (n *noted) Stop() {
	n.once.Do(n.link.end)
	n.Interface.Stop()
}

// over notes how each try ends, and when a watch does.
func (l *link) over(lw *cache.ListWatch) *cache.ListWatch {
	list, watches := lw.ListWithContextFunc, lw.WatchFuncWithContext
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l.ask()
			found, err := list(ctx, o)
			l.answer(err)
			return found, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			l.ask()
			w, err := watches(ctx, o)
			l.answer(err)
			if err != nil {
				return nil, err
			}
			return &noted{Interface: w, link: l}, nil
		},
	}
}

func jobOf(o any) ([]string, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, err
	}
	if run, ok := runOf(m); ok {
		return []string{run.UID}, nil
	}
	if uid := m.GetLabels()[render.LabelUID]; uid != "" {
		return []string{uid}, nil // of a job, not of a run
	}
	return nil, nil
}

// withoutManagers leaves out of an object what nobody here reads.
func withoutManagers(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// keysAlone leaves of Flink's ConfigMaps the names of what they hold, and whether Flink wrote it.
func keysAlone(o any) (any, error) {
	if cm, ok := o.(*corev1.ConfigMap); ok {
		for k, v := range cm.Data {
			if cm.Data[k] = ""; strings.HasPrefix(v, handle) {
				cm.Data[k] = handle
			}
		}
		cm.BinaryData = nil
	}
	return withoutManagers(o)
}

func handler(changed func(before, now metav1.Object)) cache.ResourceEventHandler {
	object := func(o any) metav1.Object {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		m, err := meta.Accessor(o)
		if err != nil {
			return nil
		}
		return m
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { changed(nil, object(o)) },
		UpdateFunc: func(a, b any) { changed(object(a), object(b)) },
		DeleteFunc: func(o any) { changed(object(o), nil) },
	}
}

// each yields the objects of one job.
func each[T runtime.Object](w *watched, uid string) []T {
	found, err := w.GetIndexer().ByIndex(byJob, uid)
	if err != nil {
		return nil // there is no such index: cannot be
	}
	out := make([]T, 0, len(found))
	for _, o := range found {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// wakes passes on which jobs changed, to whoever runs the watch now.
type wakes struct {
	mu sync.Mutex
	fn func(uid string)
}

func (w *wakes) set(fn func(string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fn = fn
}

func (w *wakes) call(uid string) {
	w.mu.Lock()
	fn := w.fn
	w.mu.Unlock()
	if fn != nil {
		fn(uid)
	}
}

// Run implements reconcile.Runtime. It is called once.
func (r *Runtime) Run(ctx context.Context, wake func(uid string)) error {
	r.wake.set(wake)
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(r.log.Handler()))
	var all sync.WaitGroup
	for _, s := range r.spaces {
		all.Go(func() { s.run(ctx) })
	}
	all.Go(func() { r.keepKeys(ctx) })
	all.Wait()
	return context.Cause(ctx)
}

// changed is told of every event of every watch.
func (r *Runtime) changed(before, now metav1.Object) {
	defer r.bell.ring()
	o := now
	if o == nil {
		o = before
	}
	if o == nil || !matters(before, now) {
		return
	}
	if uids, err := jobOf(o); err == nil && len(uids) > 0 {
		r.wake.call(uids[0])
	}
}

// matters reports whether a job has to be looked at for an event. Flink's own
// ConfigMaps change every few seconds, with each renewal of a lease and each
// checkpoint; what a decision reads of them changes seldom.
func matters(before, now metav1.Object) bool {
	a, okA := before.(*corev1.ConfigMap)
	b, okB := now.(*corev1.ConfigMap)
	if !okA || !okB || b.Labels[labelType] != haType {
		return true
	}
	return hasGraph(a) != hasGraph(b) || (damage(a) == "") != (damage(b) == "")
}
