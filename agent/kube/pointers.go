package kube

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/waterwheel-io/waterwheel/flink"
)

// maxRemembered bounds the runs whose records of checkpoints are remembered.
const maxRemembered = 4096

// remembered is the greatest checkpoint number that the watch has ever shown of
// each run's record. Flink removes the record with a job that failed for good;
// whoever has seen every change of it up to then knows its last word.
type remembered struct {
	mu     sync.Mutex // guards newest
	newest map[flink.Run]int64
}

func newRemembered() *remembered { return &remembered{newest: map[flink.Run]int64{}} }

// of is the last number on a run's record. ok is false when it was never seen,
// or may have changed while nobody watched.
func (m *remembered) of(run flink.Run) (n int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok = m.newest[run]
	return n, ok
}

func (m *remembered) forget(run flink.Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.newest, run)
}

// gone takes what the watch shows of a record that was removed: its end, unless it went while nobody watched.
func (m *remembered) gone(o any) {
	unseen, missed := o.(cache.DeletedFinalStateUnknown)
	if missed {
		o = unseen.Obj
	}
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return
	}
	run, ok := runOf(cm)
	if !ok || !isPointers(run, cm) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, known := m.newest[run]
	switch {
	case missed:
		delete(m.newest, run)
	case known: // else it was forgotten on purpose
		m.newest[run] = max(n, newestPointer(cm))
	}
}

// note takes what the watch shows of a record that is there.
func (m *remembered) note(o any) {
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return
	}
	run, ok := runOf(cm)
	if !ok || !isPointers(run, cm) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.newest[run]; !known && len(m.newest) >= maxRemembered {
		clear(m.newest) // what is forgotten is asked about
	}
	m.newest[run] = max(m.newest[run], newestPointer(cm))
}

// handler is for the watch of Flink's ConfigMaps.
func (m *remembered) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    m.note,
		UpdateFunc: func(_, o any) { m.note(o) },
		DeleteFunc: m.gone,
	}
}
