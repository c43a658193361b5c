package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// again is how long a job waits whose object could not be put back or written.
const again = 5 * time.Second

// event is the newest that the watch said of an object. It is read when it is looked at: most say what was just written.
type event struct {
	obj *unstructured.Unstructured // nil: it is gone
	at  string                     // resource version
}

// sink takes what a reflector hears, the newest of each object, for Run to look at.
type sink struct {
	b    *backend
	more chan struct{} // size 1
	news map[string]event
}

// Run keeps the objects as they are on record, shows statuses, and calls wake with the uid of each job whose hold or
// record changed, until ctx ends. It is called once. ErrFenced says that a later agent has taken over.
func (s *Store) Run(ctx context.Context, wake func(uid string)) error {
	s.mu.Lock()
	s.wake = wake
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	k := &sink{b: s.b, more: make(chan struct{}, 1), news: map[string]event{}}
	r := cache.NewReflectorWithOptions(s.b.listWatch(), &unstructured.Unstructured{}, k, cache.ReflectorOptions{Name: kind})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.RunWithContext(ctx)
	}()
	flushed := make(chan struct{})
	go func() { // a hold is seen however slowly statuses are written
		defer close(flushed)
		s.flushAll(ctx)
	}()
	defer func() { cancel(); <-watched; <-flushed }()
	mark := time.NewTicker(markEvery)
	defer mark.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.b.fenced:
			return s.b.fence(nil)
		case <-k.more:
			s.hear(ctx, k)
		case <-mark.C:
			if err := s.b.watchMark(ctx); err != nil && ctx.Err() == nil {
				s.b.log.Warn("ConfigMap cannot be looked at", "name", s.b.o.ConfigMap, telemetry.Err(err))
			}
		}
	}
}

func (b *backend) listWatch() *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l, err := b.jobs.List(ctx, o)
			if err != nil {
				b.log.Warn("FlinkJob objects cannot be listed", telemetry.Err(unknown(err)))
			}

			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return b.jobs.Watch(ctx, o)
		},
	}
}

// flushAll writes what is due, again and again until ctx ends.
func (s *Store) flushAll(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.flush(ctx)
		}
	}
}

// flush writes what is due.
func (s *Store) flush(ctx context.Context) {
	b := s.b
	now := time.Now()
	b.mu.Lock()
	var uids []string
	for uid, at := range b.due {
		if !now.Before(at) {
			uids = append(uids, uid)
		}
	}
	b.mu.Unlock()
	for _, uid := range uids {
		if err := s.Flush(ctx, uid); err != nil {
			b.log.Debug("status cannot be written yet", telemetry.KeyUID, uid, telemetry.Err(err))
			b.mu.Lock()
			b.due[uid] = now.Add(again)
			b.mu.Unlock()
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// hear looks at all news.
func (s *Store) hear(ctx context.Context, k *sink) {
	for name, e := range k.take() {
		uid, changed, err := s.b.hear(ctx, name, e)
		switch {
		case errors.Is(err, errAhead):
			s.b.log.Warn("an earlier agent wrote after this one had read; all is read again", telemetry.Err(err))
			s.Doubt(err)
			if _, err := s.Jobs(ctx); err != nil {
				s.b.log.Warn("records cannot be read again yet", telemetry.Err(err))
			}
		case errors.Is(err, ErrFenced):
			return // Run says so
		case err != nil && ctx.Err() == nil:
			s.b.log.Warn("FlinkJob cannot be put back yet", "name", name, telemetry.Err(err))
			time.AfterFunc(again, func() { k.put(name, e, false) })
		}
		if changed {
			s.woken([]string{uid})
		}
	}
}

// hear takes one event: what people changed is put back, their metadata is taken. changed says that a hold is not as it was.
func (b *backend) hear(ctx context.Context, name string, e event) (uid string, changed bool, err error) {
	b.mu.Lock()
	h, ok := b.held[name]
	leaving := ok && h.leaving
	b.mu.Unlock()
	switch {
	case leaving, !ok && e.obj == nil:
		return "", false, nil
	case !ok:
		o, err := read(e.obj)
		if err != nil {
			return "", false, err
		}

		return "", false, b.stranger(ctx, o)
	}
	h.io.Lock()
	defer h.io.Unlock()
	if h.obj != nil && !later(e.at, h.obj.ResourceVersion) || h.job.IsZero() {
		return "", false, nil
	}
	before := b.holding(h)
	defer func() { uid, changed = h.uid, b.holding(h) != before }()
	switch {
	case e.obj == nil && h.obj == nil: // the write that was to put it back failed
		return "", false, b.put(ctx, h)
	case e.obj == nil:
		b.log.Warn("FlinkJob was deleted by somebody else; nothing stops, and it is written again", telemetry.KeyUID, h.uid)
		h.obj = nil

		return "", false, b.put(ctx, h)
	case h.obj == nil:
		return "", false, nil // about to be written
	}
	o, err := read(e.obj)
	switch {
	case err != nil:
		return "", false, err
	case h.job.Row == nil && !o.Spec.whole():
		h.obj = o // still waits for the hub's order
		b.noteMeta(h)

		return "", false, nil
	}
	verdict := b.judge(h, o)
	if err := b.face(ctx, h, o); err != nil || verdict == same {
		return "", false, err
	}

	return "", false, b.put(ctx, h)
}

// holding is whether and why a job is held.
func (b *backend) holding(h *held) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.hold == nil {
		return ""
	}

	return fmt.Sprintf("held: %s", h.hold.Reason)
}

// stranger looks at an object that stands for no job on record. The watch may lag behind: one that this agent has removed
// is told of for a while.
func (b *backend) stranger(ctx context.Context, o *flinkJob) error {
	b.mu.Lock()
	known := b.parked[o.ObjectMeta.Name] == o.ResourceVersion
	b.mu.Unlock()
	if known {
		return nil
	}
	o, err := b.get(ctx, o.ObjectMeta.Name)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read FlinkJob: %w", err)
	}
	if o.Spec.whole() && o.Spec.Site == b.site && o.Status.Agent.whole() {
		return fmt.Errorf("FlinkJob %s: %w", o.ObjectMeta.Name, errAhead)
	}
	switch {
	case o.Spec.whole() && o.Spec.Site != b.site:
		b.park(ctx, o, reasonSite, otherPlace(o))
	default:
		b.park(ctx, o, reasonEdited, notOurs)
	}

	return nil
}

func (k *sink) take() map[string]event {
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	news := k.news
	k.news = map[string]event{}

	return news
}

// put keeps the news of an object. fresh news win over what is put again.
func (k *sink) put(name string, e event, fresh bool) {
	k.b.mu.Lock()
	if _, ok := k.news[name]; fresh || !ok {
		k.news[name] = e
	}
	k.b.mu.Unlock()
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// Add implements cache.ReflectorStore.
func (k *sink) Add(obj any) error { return k.Update(obj) }

// Update implements cache.ReflectorStore.
func (k *sink) Update(obj any) error {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch brought a %T", obj)
	}
	k.put(u.GetName(), event{obj: u, at: u.GetResourceVersion()}, true)

	return nil
}

// Delete implements cache.ReflectorStore.
func (k *sink) Delete(obj any) error {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch brought a %T", obj)
	}
	k.put(u.GetName(), event{at: u.GetResourceVersion()}, true)

	return nil
}

// Replace implements cache.ReflectorStore: what is held and not in a list is gone, as of that list.
func (k *sink) Replace(objects []any, at string) error {
	there := map[string]bool{}
	for _, o := range objects {
		if err := k.Update(o); err != nil {
			return err
		}
		there[o.(*unstructured.Unstructured).GetName()] = true
	}
	k.b.mu.Lock()
	var gone []string
	for name := range k.b.held {
		if !there[name] {
			gone = append(gone, name)
		}
	}
	k.b.mu.Unlock()
	for _, name := range gone {
		k.put(name, event{at: at}, true)
	}

	return nil
}

// Resync implements cache.ReflectorStore.
func (k *sink) Resync() error { return nil }
