package process

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
)

// EndAll ends every process of every run of this agent, and returns when none is
// left, or when ctx ends. Files stay. It is for an agent that does not run.
func (r *Runtime) EndAll(ctx context.Context) error {
	all, err := r.processes(0)
	if err != nil {
		return fmt.Errorf("end all runs: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range slices.Sorted(maps.Keys(living(all))) {
		g.Go(func() error { return r.end(ctx, run) })
	}
	return g.Wait()
}
