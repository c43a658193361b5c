package kube

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Limits of asking for events.
const (
	eventsEach  = time.Second      // between two questions, whatever they are about
	eventsAgain = 15 * time.Second // before the same pod is asked about again
	eventsKept  = 256              // pods of which the last answer is kept
)

// events finds out why containers are not created. Events are asked for only
// when nothing else tells, since they are many and watched by nobody here.
type events struct {
	client kubernetes.Interface

	mu    sync.Mutex // guards all below
	asked time.Time  // last, about any pod
	kept  map[types.UID]answer
}

type answer struct {
	at    time.Time
	words string
}

func newEvents(client kubernetes.Interface) *events {
	return &events{client: client, kept: map[types.UID]answer{}}
}

// last is what was last found about a pod.
func (e *events) last(uid types.UID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kept[uid].words
}

// why is what the newest event that matters says of a pod, "" if there is none or it is too early to ask.
func (e *events) why(ctx context.Context, p *corev1.Pod) string {
	words, ask := e.turn(p.UID, time.Now())
	if !ask {
		return words
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := e.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + string(p.UID), Limit: 100,
	})
	if err != nil {
		return words // the pod is told of all the same
	}
	words = telling(found.Items)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.kept) >= eventsKept {
		clear(e.kept)
	}
	e.kept[p.UID] = answer{time.Now(), words}
	return words
}

// turn is the last answer about a pod, and whether it may be asked about now.
func (e *events) turn(uid types.UID, now time.Time) (words string, ask bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.kept[uid]
	if ok && now.Sub(a.at) < eventsAgain || now.Sub(e.asked) < eventsEach {
		return a.words, false
	}
	e.asked = now
	return a.words, true
}

// telling is the newest event that says why a pod does not work: a warning, or
// that an image is being pulled, which takes its time.
func telling(all []corev1.Event) string {
	var newest time.Time
	words := ""
	for i := range all {
		e := &all[i]
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.EventTime.Time
		}
		if (e.Type == corev1.EventTypeWarning || e.Reason == "Pulling") && !at.Before(newest) {
			newest, words = at, limited(e.Reason+": "+e.Message)
		}
	}
	return words
}
