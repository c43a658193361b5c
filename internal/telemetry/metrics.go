package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const prefix = "waterwheel_"

// NewRegistry is a registry with the metrics of the Go runtime, of the process, and waterwheel_build_info.
func NewRegistry(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "Always 1; the label says which version runs.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	reg.MustRegister(info)

	return reg
}

// Hub is the hub's metrics.
type Hub struct {
	Sessions        prometheus.Gauge     // streams open now
	RowsSent        prometheus.Counter   // rows put on streams, tombstones included
	DeltasSent      prometheus.Counter   // frames that carried them
	Acks            prometheus.Counter   // acks received
	Nacks           *Counter             // rows refused by agents, by reason
	DispatchSeconds prometheus.Histogram // from a commit to its rows on a stream
	Divergence      prometheus.Counter   // digests of hub and agent that differed though they should not
	AdminRequests   *Counter             // calls of the admin API, by method and code
	Reattests       *Counter             // agents that asked to be let in after their certificate ended, by outcome
}

// NewHub makes and registers the hub's metrics. It panics if the registry has them already.
func NewHub(reg prometheus.Registerer) *Hub {
	m := maker{reg}

	return &Hub{
		Sessions:        m.gauge("hub_sessions", "Streams of agents that are open now."),
		RowsSent:        m.counter("hub_rows_sent_total", "Rows sent to agents, tombstones included."),
		DeltasSent:      m.counter("hub_deltas_sent_total", "Frames of rows sent to agents."),
		Acks:            m.counter("hub_acks_total", "Acks received from agents."),
		Nacks:           newCounter(reg, "hub_nacks_total", "Rows refused by agents, by reason.", "reason"),
		DispatchSeconds: m.seconds("hub_dispatch_seconds", "Seconds from a commit to its rows on a stream."),
		Divergence:      m.counter("hub_divergence_total", "Digests of hub and agent that differed at the same revision."),
		AdminRequests:   newCounter(reg, "hub_admin_requests_total", "Calls of the admin API, by method and code.", "method", "code"),
		Reattests:       newCounter(reg, "hub_reattests_total", "Agents that asked for a certificate after theirs ended, by outcome.", "outcome"),
	}
}

// Agent is the agent's metrics.
type Agent struct {
	Passes       *Counter         // passes of the reconciler, by the situation found
	Acts         *Counter         // actions carried out, by kind and outcome
	Session      *State           // of the stream to the hub
	RecordedRows prometheus.Gauge // orders on record
}

// NewAgent makes and registers the agent's metrics. The states are all that its session can be in. It panics if the
// registry has them already.
func NewAgent(reg prometheus.Registerer, states ...string) *Agent {
	m := maker{reg}

	return &Agent{
		Passes:       newCounter(reg, "agent_passes_total", "Passes of the reconciler, by situation.", "situation"),
		Acts:         newCounter(reg, "agent_acts_total", "Actions carried out, by kind and outcome.", "kind", "outcome"),
		Session:      newState(reg, "agent_session_state", "1 for the state the session with the hub is in, else 0.", states),
		RecordedRows: m.gauge("agent_recorded_rows", "Rows of the hub on record here, tombstones included."),
	}
}

// ExpiryGauge registers waterwheel_svid_seconds_to_expiry, negative once it has passed. The func is called at each
// scrape and returns the end of the certificate in use; the zero time (none in use) reads as 0.
func ExpiryGauge(reg prometheus.Registerer, notAfter func() time.Time) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "svid_seconds_to_expiry", Help: "Seconds until the certificate in use ends.",
	}, func() float64 {
		if end := notAfter(); !end.IsZero() {
			return time.Until(end).Seconds()
		}

		return 0
	}))
}

// State is a gauge for each of a fixed set of states, of which one is 1. It may be used from any goroutine.
type State struct {
	mu     sync.Mutex
	now    string
	gauges map[string]prometheus.Gauge
}

func newState(reg prometheus.Registerer, name, help string, states []string) *State {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, []string{"state"})
	reg.MustRegister(vec)
	s := &State{gauges: make(map[string]prometheus.Gauge, len(states))}
	for _, name := range states {
		s.gauges[name] = vec.WithLabelValues(name)
	}

	return s
}

// Set makes the named state the current one. A name that is not among the states leaves all at 0.
func (s *State) Set(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.gauges[s.now]; ok {
		g.Set(0)
	}
	if g, ok := s.gauges[name]; ok {
		g.Set(1)
	}
	s.now = name
}

// maker registers what it makes.
type maker struct{ reg prometheus.Registerer }

func (m maker) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	m.reg.MustRegister(g)

	return g
}

func (m maker) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	m.reg.MustRegister(c)

	return c
}

// seconds is a histogram from 0.1 ms to 13 s, each bucket twice the one before.
func (m maker) seconds(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(1e-4, 2, 18),
	})
	m.reg.MustRegister(h)

	return h
}
