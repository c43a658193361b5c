package agent

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// listen binds what the file asks for: the agent's own view with metrics and health on loopback, metrics and probes for
// other hosts. An agent is ready without the hub.
func listen(ctx context.Context, c Config, registry *prometheus.Registry, status http.HandlerFunc, log *slog.Logger) ([]*telemetry.Server, error) {
	own := c.Listen
	if own == NoListener {
		own = ""
	}
	var all []*telemetry.Server
	for _, cfg := range []telemetry.Config{
		{Addr: own, Registry: registry, Logger: log, Handlers: map[string]http.Handler{"GET /status": status}},
		{Addr: c.Metrics.Listen, AllowExternal: c.Metrics.Public, Registry: registry, Logger: log},
		telemetry.Probes(c.Health.Listen, nil, log),
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
