package scene

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Flink is the stand-in at the agent's Flink port: the JobManagers of the first
// runs of some orders. Each answers at once, has its TaskManagers, runs the job
// that it is handed, and completes a checkpoint each interval.
type Flink struct {
	root   string
	handed func(context.Context, flink.Run, time.Time) error

	mu   sync.Mutex // guards what runs hold
	runs map[string]*standIn
}

// standIn is the JobManager of one run.
type standIn struct {
	order flink.Order
	run   flink.Run
	job   string // empty: it has none
	since time.Time
}

var errSilent = errors.New("connection refused")

// NewFlink stands in for the first runs of orders. root is where their state
// would be. handed is called when a job is handed in, before it runs; nil: nobody is told.
func NewFlink(orders []flink.Order, root string, handed func(context.Context, flink.Run, time.Time) error) *Flink {
	f := &Flink{root: root, handed: handed, runs: make(map[string]*standIn, len(orders))}
	for _, o := range orders {
		run := FirstRun(o)
		f.runs[render.Endpoint(run, Namespace)] = &standIn{order: o, run: run}
	}
	return f
}

// Completed is how many checkpoints a job that was handed in at a time has completed by another.
func Completed(since, now time.Time, interval time.Duration) int64 {
	return max(int64(now.Sub(since)/interval), 0)
}

func (f *Flink) at(endpoint string) (*standIn, error) {
	if s := f.runs[endpoint]; s != nil {
		return s, nil
	}
	return nil, errSilent
}

// Observe implements reconcile.Flink.
func (f *Flink) Observe(_ context.Context, endpoint string, _ flink.RESTQuery) flink.REST {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.at(endpoint)
	if err != nil {
		return flink.REST{Err: err.Error()}
	}
	spec := s.order.Spec
	out := flink.REST{
		Reachable: true, JobsListed: true, FlinkVersion: spec.FlinkVersion + ".0",
		TaskManagers: spec.TaskManagers(), SlotsTotal: spec.TaskManagers() * spec.TaskManager.Slots,
	}
	if s.job == "" {
		return out
	}
	out.Job = &flink.JobObserved{
		ID: s.job, Name: s.order.Name, State: flink.JobRunning, TasksTotal: spec.Parallelism, TasksRunning: spec.Parallelism,
		Parallelism: spec.Parallelism, Wanted: spec.Parallelism, StartTime: s.since,
	}
	interval := spec.CheckpointInterval()
	if n := Completed(s.since, time.Now(), interval); n > 0 && spec.Stateful() {
		out.Job.Completed, out.Job.Latest = n, flink.Snapshot{
			Path: flink.NormalizePath(fmt.Sprintf("%s/%s/chk-%d", config.Dirs(f.root, s.order.Tenant, s.run).Checkpoints, s.job, n)),
			Kind: flink.KindCheckpoint, ID: n, CompletedAt: s.since.Add(time.Duration(n) * interval), Run: s.run,
		}
	}
	return out
}

// Plan implements reconcile.Flink.
func (f *Flink) Plan(_ context.Context, endpoint string, _ flink.Program) error {
	_, err := f.at(endpoint)
	return err
}

// Submit implements reconcile.Flink.
func (f *Flink) Submit(ctx context.Context, endpoint string, sub flink.Submission) error {
	s, err := f.at(endpoint)
	if err != nil {
		return err
	}
	now := time.Now().Truncate(time.Millisecond)
	if f.handed != nil {
		if err := f.handed(ctx, s.run, now); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.job == "" {
		s.job, s.since = sub.JobID, now
	}
	return nil
}

// Stop implements reconcile.Flink. No job here is ever to be stopped.
func (f *Flink) Stop(context.Context, string, string, string, string) error {
	return errors.New("the stand-in stops no job")
}

// Cancel implements reconcile.Flink. No job here is ever to be canceled.
func (f *Flink) Cancel(context.Context, string, string) error {
	return errors.New("the stand-in cancels no job")
}
