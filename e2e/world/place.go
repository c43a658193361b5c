package world

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Rhythms of the fake Flink.
const (
	warmTakes   = 4 * time.Second // start of a cluster until REST answers
	deployTakes = 2 * time.Second // hand-in of a job until all its tasks run
	stopTakes   = time.Second     // stop with savepoint
)

// Place is the fake at the ports Runtime, Flink and Snapshots of one agent: Flink
// clusters that are values. It outlives the agent, as processes would.
type Place struct {
	mu    sync.Mutex // guards runs and seen
	runs  map[flink.Run]*cluster
	paths map[string]flink.Snapshot // completed snapshots
	acts  int                       // stops, cancels, ends of runs: what a user would call a disturbance
}

// cluster is the Flink cluster of one run.
type cluster struct {
	launch   flink.Launch
	started  time.Time
	ended    time.Time // zero: lives
	job      string
	from     string
	handed   time.Time
	state    string // terminal state; empty: alive
	stopAt   time.Time
	stopDir  string
	trigger  string
	location string
}

// NewPlace makes an empty place.
func NewPlace() *Place {
	return &Place{runs: map[flink.Run]*cluster{}, paths: map[string]flink.Snapshot{}}
}

// Disturbances counts stops, cancels and ends of runs so far.
func (p *Place) Disturbances() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acts
}

// Alive lists the runs that live, by name.
func (p *Place) Alive() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for r, c := range p.runs {
		if c.ended.IsZero() {
			names = append(names, r.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Kill ends the processes of a job's newest living run, as a crash would.
func (p *Place) Kill(uid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var newest flink.Run
	for r, c := range p.runs {
		if r.UID == uid && c.ended.IsZero() && newest.Before(r) {
			newest = r
		}
	}
	if newest.IsZero() {
		return false
	}
	p.settle(newest)
	p.runs[newest].ended = time.Now()
	return true
}

// settle writes down the checkpoints that a run has completed by now. The caller holds mu.
func (p *Place) settle(r flink.Run) {
	c := p.runs[r]
	if s := c.newest(r, time.Now()); !s.IsZero() && c.ended.IsZero() {
		p.paths[s.Path] = s
	}
}

// newest is the newest completed checkpoint of a run at a time.
func (c *cluster) newest(r flink.Run, now time.Time) flink.Snapshot {
	if c.job == "" {
		return flink.Snapshot{}
	}
	up := c.handed.Add(deployTakes)
	if !c.stopAt.IsZero() && now.After(c.stopAt) {
		now = c.stopAt
	}
	interval := c.launch.Spec.CheckpointInterval()
	n := int64(now.Sub(up) / interval)
	if n < 1 {
		return flink.Snapshot{}
	}
	return flink.Snapshot{
		Path: fmt.Sprintf("file:/state/%s/t%d/r%d/checkpoints/%s/chk-%d", r.UID, r.Term, r.Run, c.job, n),
		Kind: flink.KindCheckpoint, ID: n, CompletedAt: up.Add(time.Duration(n) * interval), Run: r,
	}
}

// Observe implements reconcile.Runtime.
func (p *Place) Observe(_ context.Context, uid string) ([]flink.RunObserved, flink.Room, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var seen []flink.RunObserved
	for r, c := range p.runs {
		if r.UID != uid {
			continue
		}
		o := flink.RunObserved{Run: r, Launch: new(c.launch), Endpoint: "fake://" + r.Name()}
		state := flink.ProcessRunning
		if !c.ended.IsZero() {
			state = flink.ProcessExited
		}
		o.JobManager = flink.Process{State: state, StartedAt: c.started, ExitCode: 137}
		for i := range c.launch.Spec.TaskManagers() {
			o.TaskManagers = append(o.TaskManagers, flink.Process{State: state, ID: fmt.Sprintf("tm-%d", i)})
		}
		seen = append(seen, o)
	}
	slices.SortFunc(seen, func(a, b flink.RunObserved) int {
		if a.Run.Before(b.Run) {
			return -1
		}
		return 1
	})
	return seen, flink.Room{}, nil
}

// Ensure implements reconcile.Runtime.
func (p *Place) Ensure(_ context.Context, l flink.Launch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs[l.Run] == nil {
		p.runs[l.Run] = &cluster{launch: l, started: time.Now()}
	}
	return nil
}

// Collect implements reconcile.Runtime: nothing is left of ended runs.
func (p *Place) Collect(context.Context, string, []flink.Run) error { return nil }

// End implements reconcile.Runtime.
func (p *Place) End(_ context.Context, r flink.Run) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.runs[r]; c != nil && c.ended.IsZero() {
		p.settle(r)
		c.ended = time.Now()
		p.acts++
	}
	return nil
}

// Run implements reconcile.Runtime: this place wakes nobody; the agent's own rhythm finds all.
func (p *Place) Run(ctx context.Context, _ func(uid string)) error {
	<-ctx.Done()
	return nil
}

// Exists implements reconcile.Snapshots.
func (p *Place) Exists(_ context.Context, path string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.paths[flink.NormalizePath(path)]
	return ok, nil
}

// Newest implements reconcile.Snapshots.
func (p *Place) Newest(_ context.Context, r flink.Run, _ string) (flink.Snapshot, error) {
	return p.best(func(s flink.Snapshot) bool { return s.Run == r && s.Kind == flink.KindCheckpoint }), nil
}

// Savepoint implements reconcile.Snapshots.
func (p *Place) Savepoint(_ context.Context, _ flink.Run, directory string) (flink.Snapshot, error) {
	dir := flink.NormalizePath(directory)
	return p.best(func(s flink.Snapshot) bool { return path.Dir(s.Path) == dir || strings.HasPrefix(s.Path, dir+"/") }), nil
}

func (p *Place) best(ok func(flink.Snapshot) bool) flink.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best flink.Snapshot
	for _, s := range p.paths {
		if ok(s) && (best.IsZero() || s.ID > best.ID) {
			best = s
		}
	}
	return best
}
