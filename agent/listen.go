package agent

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// listen binds the agent's listeners: its own view with all else, on loopback; metrics for what collects them; probes. An
// agent is ready without the hub: none has a Ready func.
func (a *Agent) listen(ctx context.Context, registry *prometheus.Registry) ([]*telemetry.Server, error) {
	own := a.cfg.Listen
	if own == NoListener {
		own = ""
	}
	var all []*telemetry.Server
	for _, cfg := range []telemetry.Config{
		{Addr: own, Registry: registry, Logger: a.log, Handlers: map[string]http.Handler{"GET /status": http.HandlerFunc(a.serveStatus)}},
		{Addr: a.cfg.Metrics.Listen, AllowExternal: a.cfg.Metrics.Public, Registry: registry, Logger: a.log},
		telemetry.Probes(a.cfg.Health.Listen, nil, a.log),
	} {
		if cfg.Addr == "" {
			continue
		}
		s, err := telemetry.Listen(ctx, cfg)
		if err != nil {
			for _, bound := range all {
				_ = bound.Close() // the first error is what matters
			}
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
