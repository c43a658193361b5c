package telemetry

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of labels.
const (
	maxCombinations = 128
	overflow        = "other"
)

// Counter counts by labels, in at most 128 combinations of values; further ones are counted together, each label
// reading "other". It may be used from any goroutine.
type Counter struct {
	vec    *prometheus.CounterVec
	labels int

	mu   sync.Mutex
	seen map[string]struct{}
}

func newCounter(reg prometheus.Registerer, name, help string, labels ...string) *Counter {
	c := &Counter{
		vec:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels),
		labels: len(labels),
		seen:   make(map[string]struct{}),
	}
	reg.MustRegister(c.vec)

	return c
}

// Inc counts one under the values, one for each label in the order of the metric's help.
func (c *Counter) Inc(values ...string) { c.Add(1, values...) }

// Add counts n ≥ 0 under the values.
func (c *Counter) Add(n float64, values ...string) {
	c.vec.WithLabelValues(c.admit(values)...).Add(n)
}

func (c *Counter) admit(values []string) []string {
	key := strings.Join(values, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.seen[key]; ok {
		return values
	}
	if len(c.seen) < maxCombinations {
		c.seen[key] = struct{}{}
		return values
	}
	others := make([]string, c.labels)
	for i := range others {
		others[i] = overflow
	}

	return others
}
