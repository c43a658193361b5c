package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// Runtime says what exists of a job's runs.
type Runtime interface {
	Observe(ctx context.Context, uid string) ([]flink.RunObserved, flink.Room, error)
}

// Flink asks one JobManager.
type Flink interface {
	Observe(ctx context.Context, endpoint string, q flink.RESTQuery) flink.REST
}

// Snapshots reads state storage.
type Snapshots interface {
	Exists(ctx context.Context, path string) (bool, error)
	Newest(ctx context.Context, r flink.Run, checkpointsDir string) (flink.Snapshot, error)
	Savepoint(ctx context.Context, r flink.Run, directory string) (flink.Snapshot, error)
}

// Observer looks at jobs. It may be used from many goroutines, for one job from one at a time.
type Observer struct {
	runtime   Runtime
	flink     Flink
	snapshots Snapshots

	mu     sync.Mutex              // guards silent
	silent map[flink.Run]time.Time // since when a run's JobManager does not answer; forgotten at a restart of the agent
}

// New makes an Observer over its three ports.
func New(r Runtime, f Flink, s Snapshots) *Observer {
	return &Observer{runtime: r, flink: f, snapshots: s, silent: map[flink.Run]time.Time{}}
}

// Observe looks at one job once.
func (o *Observer) Observe(ctx context.Context, order flink.Order, m plan.Memory) (flink.Observed, error) {
	at := time.Now() // before the look: what is seen is at least this new
	runs, room, err := o.runtime.Observe(ctx, order.UID)
	if err != nil {
		return flink.Observed{}, fmt.Errorf("observe runs: %w", err)
	}
	q := plan.Ask(order, m)
	for i := range runs {
		o.ask(ctx, &runs[i], q.Triggers[runs[i].Run], at)
	}
	o.forget(order.UID, runs)
	seen := flink.Observed{At: at, Runs: runs, Room: room}
	if q.SnapshotPath != "" {
		seen.SnapshotCheck = o.exists(ctx, q.SnapshotPath)
	}
	if q.Dead != nil && !alive(runs, q.Dead.Run) {
		seen.Newest = o.newest(ctx, *q.Dead)
	}
	return seen, nil
}

// ask adds what a run's JobManager answers, if there is one to ask.
func (o *Observer) ask(ctx context.Context, r *flink.RunObserved, trigger string, at time.Time) {
	if !r.JobManager.Exists() || r.Endpoint == "" {
		return
	}
	r.REST = o.flink.Observe(ctx, r.Endpoint, flink.RESTQuery{JobID: r.Run.JobID(), TriggerID: trigger})
	r.REST.Asked = true
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.REST.Reachable {
		delete(o.silent, r.Run)
		return
	}
	since, ok := o.silent[r.Run]
	if !ok {
		since = at
		o.silent[r.Run] = since
	}
	r.REST.SilentSince = since
}

// forget drops what is kept of a job's runs that do not exist any more.
func (o *Observer) forget(uid string, runs []flink.RunObserved) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for run := range o.silent {
		if run.UID == uid && !alive(runs, run) {
			delete(o.silent, run)
		}
	}
}

func (o *Observer) exists(ctx context.Context, path string) *flink.SnapshotCheck {
	ok, err := o.snapshots.Exists(ctx, path)
	if err != nil {
		return &flink.SnapshotCheck{Path: path, Err: err.Error()}
	}
	return &flink.SnapshotCheck{Path: path, Exists: ok}
}

// newest finds what a dead run left: the savepoint of its stop, if that was
// completed, since nothing the run did is newer; else its newest checkpoint.
func (o *Observer) newest(ctx context.Context, d plan.DeadRun) *flink.NewestCheckpoint {
	if d.StopDir != "" {
		s, err := o.snapshots.Savepoint(ctx, d.Run, d.StopDir)
		if err != nil {
			return &flink.NewestCheckpoint{Run: d.Run, Err: err.Error()}
		}
		if !s.IsZero() {
			return &flink.NewestCheckpoint{Run: d.Run, Snapshot: s}
		}
	}
	s, err := o.snapshots.Newest(ctx, d.Run, d.CheckpointsDir)
	if err != nil {
		return &flink.NewestCheckpoint{Run: d.Run, Err: err.Error()}
	}
	return &flink.NewestCheckpoint{Run: d.Run, Snapshot: s}
}

func alive(runs []flink.RunObserved, run flink.Run) bool {
	for _, r := range runs {
		if r.Run == run {
			return r.Alive()
		}
	}
	return false
}
