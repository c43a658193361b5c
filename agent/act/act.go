package act

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// endLimit bounds one attempt at ending a run's processes.
const endLimit = 30 * time.Second

// Runtime brings runs up and down.
type Runtime interface {
	Ensure(ctx context.Context, l flink.Launch) error
	End(ctx context.Context, r flink.Run) error
}

// Flink is the REST side of one JobManager.
type Flink interface {
	Plan(ctx context.Context, endpoint string, p flink.Program) error
	Submit(ctx context.Context, endpoint string, s flink.Submission) error
	Stop(ctx context.Context, endpoint, jobID, triggerID, directory string) error
	Cancel(ctx context.Context, endpoint, jobID string) error
}

// Actor carries out actions. It may be used from many goroutines.
type Actor struct {
	runtime Runtime
	flink   Flink
}

// New makes an Actor over its two ports.
func New(r Runtime, f Flink) *Actor { return &Actor{runtime: r, flink: f} }

// Do carries out a. seen is the observation that a was decided on; it tells where REST is.
func (d *Actor) Do(ctx context.Context, a plan.Action, seen flink.Observed) plan.Outcome {
	err := d.do(ctx, a, seen)
	if err == nil {
		return plan.Outcome{}
	}
	out := plan.Outcome{Err: err.Error()}
	if r, ok := errors.AsType[*flink.Refusal](err); ok {
		out.Refusal = r
	}
	return out
}

func (d *Actor) do(ctx context.Context, a plan.Action, seen flink.Observed) error {
	switch a := a.(type) {
	case plan.EnsureRun:
		return d.runtime.Ensure(ctx, a.Launch)
	case plan.EndRun:
		ctx, cancel := context.WithTimeout(ctx, endLimit)
		defer cancel()
		return d.runtime.End(ctx, a.Run)
	case plan.Preflight:
		return at(seen, a.Run, func(e string) error { return d.flink.Plan(ctx, e, a.Program) })
	case plan.Submit:
		return at(seen, a.Run, func(e string) error { return d.flink.Submit(ctx, e, a.Submission) })
	case plan.StopJob:
		return at(seen, a.Run, func(e string) error { return d.flink.Stop(ctx, e, a.JobID, a.TriggerID, a.Directory) })
	case plan.CancelJob:
		return at(seen, a.Run, func(e string) error { return d.flink.Cancel(ctx, e, a.JobID) })
	}
	return fmt.Errorf("action %T is not known", a)
}

// at calls f with the endpoint of a run's JobManager.
func at(seen flink.Observed, run flink.Run, f func(endpoint string) error) error {
	for _, r := range seen.Runs {
		if r.Run == run && r.Endpoint != "" {
			return f(r.Endpoint)
		}
	}
	return fmt.Errorf("run %s: its JobManager's address is not known", run)
}
