package agent

import (
	"context"
	"log/slog"

	"github.com/waterwheel-io/waterwheel/agent/process"
)

// EndRuns ends every run of an agent that does not run itself. State stays: the
// agent starts the jobs again from it.
func EndRuns(ctx context.Context, cfg Config) error {
	rt, err := process.New(process.Config{
		Dir: cfg.Dir, Dists: cfg.Runtime.Flink, UsrLib: cfg.Runtime.UsrLib, StateRoot: cfg.StateStorage.Root,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	return rt.EndAll(ctx)
}
