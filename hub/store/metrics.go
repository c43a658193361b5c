package store

import "github.com/prometheus/client_golang/prometheus"

// metrics of one store.
type metrics struct {
	commit     prometheus.Histogram
	group      prometheus.Histogram
	checkpoint prometheus.Histogram
	logBytes   prometheus.Counter
	statuses   prometheus.Counter
	refused    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "waterwheel", "hub_store"
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	m := &metrics{
		commit:     histogram("commit_seconds", "From the first write of a group to all of it visible.", prometheus.ExponentialBuckets(0.0001, 2, 16)),
		group:      histogram("group_writes", "Writes of one commit.", prometheus.ExponentialBuckets(1, 2, 10)),
		checkpoint: histogram("checkpoint_seconds", "One checkpoint of the log into the rows.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		logBytes:   counter("log_bytes_total", "Bytes of rows appended to the log."),
		statuses:   counter("statuses_written_total", "Statuses written to disk."),
		refused:    counter("writes_refused_total", "Writes refused for want of disk space."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.commit, m.group, m.checkpoint, m.logBytes, m.statuses, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
