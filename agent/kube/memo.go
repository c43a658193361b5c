package kube

import (
	"slices"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// maxMemo bounds each kind of thing that is remembered.
const maxMemo = 4096

// othersStay is for how long it is believed that somebody else has an object of the name that one of ours should have:
// the watches show nothing of it, and nobody tells when it goes.
const othersStay = 5 * time.Minute

// secretSettles is how long a pod may go on saying that a Secret is missing which was made meanwhile: kubelet looks again at growing distances.
const secretSettles = 2 * time.Minute

// memo is what a Runtime has learned about its cluster. All of it can be lost: it
// is learned again by one more write. The zero value is ready.
type memo struct {
	mu       sync.Mutex
	left     map[string][]difference // by object: in which way the cluster changes it at once, against which nothing is done
	agreed   map[string]agreed       // by namespace and anchor: a run that was found as it was made
	readings map[string]*reading     // by namespace and anchor: what it says
	others   map[string]time.Time    // by object: when it was last seen that somebody else has one of that name
	secrets  map[flink.Run]time.Time // when a run's Secret was last made, or was there
	tried    map[string]time.Time    // by namespace and Deployment: when its pods were last asked for again
}

func objectKey(namespace string, o render.Object) string { return namespace + "/" + title(o) }

// yield remembers how an object differs from what was just applied: admission has
// the last word, and to apply it again would be a fight. It reports whether that is new.
func (m *memo) yield(namespace string, o render.Object, differences []difference) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := objectKey(namespace, o)
	before := m.left[key]
	if len(differences) == 0 {
		delete(m.left, key)
		return false
	}
	if m.left == nil || len(m.left) >= maxMemo {
		m.left = map[string][]difference{}
	}
	m.left[key] = differences
	return !slices.Equal(before, differences)
}

// unyielded are those differences of an object that are not the cluster's own word.
func (m *memo) unyielded(namespace string, o render.Object, differences []difference) []difference {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := m.left[objectKey(namespace, o)]
	return slices.DeleteFunc(differences, func(d difference) bool { return slices.Contains(left, d) })
}

// setForeign remembers that somebody else has an object of that name, and reports whether that is new.
func (m *memo) setForeign(namespace string, o render.Object, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.others == nil || len(m.others) >= maxMemo {
		m.others = map[string]time.Time{}
	}
	key := objectKey(namespace, o)
	_, known := m.others[key]
	m.others[key] = now
	return !known
}

// foreign reports whether an object of that name was somebody else's so lately that it need not be asked for again.
func (m *memo) foreign(namespace string, o render.Object, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, known := m.others[objectKey(namespace, o)]
	return known && now.Sub(at) < othersStay
}

// setOurs forgets that somebody else had an object of that name.
func (m *memo) setOurs(namespace string, o render.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.others, objectKey(namespace, o))
}

func (m *memo) secretMade(run flink.Run, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.secrets == nil || len(m.secrets) >= maxMemo {
		m.secrets = map[flink.Run]time.Time{}
	}
	m.secrets[run] = at
}

// madeLately reports whether a run's Secret was made so shortly ago that its pods may not know.
func (r *Runtime) madeLately(run flink.Run) bool {
	r.memo.mu.Lock()
	defer r.memo.mu.Unlock()
	return time.Since(r.memo.secrets[run]) < secretSettles
}

// tryNow reports whether pods that could not be made since a time are to be asked for again, and takes it that they are.
func (m *memo) tryNow(deployment string, refused, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(refused) < refusedFor || now.Sub(m.tried[deployment]) < tryEvery {
		return false
	}
	if m.tried == nil || len(m.tried) >= maxMemo {
		m.tried = map[string]time.Time{}
	}
	m.tried[deployment] = now
	return true
}
