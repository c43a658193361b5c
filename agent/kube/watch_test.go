package kube

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// expiring is an API server of whose watches each ends at once with "too old", as long as that is so. A client waits longer
// and longer before it asks again.
type expiring struct {
	mu   sync.Mutex
	old  bool
	last time.Time // when it last said how things are
}

func (e *expiring) list(context.Context, metav1.ListOptions) (runtime.Object, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = time.Now()
	return &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
}

func (e *expiring) watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if o.SendInitialEvents != nil {
		return nil, apierrors.NewBadRequest("this server streams no lists")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w := watch.NewFakeWithChanSize(1, false)
	if e.old {
		gone := apierrors.NewResourceExpired("too old resource version").Status()
		w.Error(&gone)
	}
	return w, nil
}

func (e *expiring) set(old bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.old = old
}

func (e *expiring) silence() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.last)
}

func TestWhatIsNotWatchedIsNotBelievedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &expiring{old: true}
		var l link
		lw := l.over(&cache.ListWatch{ListWithContextFunc: server.list, WatchFuncWithContext: server.watch})
		informer := cache.NewSharedIndexInformerWithOptions(lw, &corev1.ConfigMap{}, cache.SharedIndexInformerOptions{})
		if err := informer.SetWatchErrorHandlerWithContext(quietly); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { informer.RunWithContext(ctx) })
		defer func() { cancel(); running.Wait() }()
		blind := 0
		for range 600 {
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			silence, err := server.silence(), l.broken()
			if silence > silentLimit {
				blind++
			}
			if silence > silentLimit != (err != nil) {
				t.Fatalf("%s after the last list, without a watch: %v", silence, err)
			}
		}
		if blind == 0 {
			t.Error("there was always a list within the limit: nothing was tried")
		}
		server.set(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := l.broken(); err != nil {
			t.Errorf("with a watch that is up: %v", err)
		}
	})
}
