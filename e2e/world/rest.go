package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// REST is the fake at an agent's Flink port, over the clusters of its place.
type REST struct{ place *Place }

// at finds the living cluster behind an endpoint that has come up. The caller holds the place's mu.
func (r REST) at(endpoint string) (flink.Run, *cluster, bool) {
	for run, c := range r.place.runs {
		if "fake://"+run.Name() == endpoint && c.ended.IsZero() && time.Since(c.started) >= warmTakes {
			return run, c, true
		}
	}
	return flink.Run{}, nil, false
}

// Observe implements reconcile.Flink.
func (r REST) Observe(_ context.Context, endpoint string, q flink.RESTQuery) flink.REST {
	r.place.mu.Lock()
	defer r.place.mu.Unlock()
	run, c, ok := r.at(endpoint)
	if !ok {
		return flink.REST{Err: "connection refused"}
	}
	tms := c.launch.Spec.TaskManagers()
	out := flink.REST{
		Reachable: true, JobsListed: true, FlinkVersion: c.launch.Spec.FlinkVersion + ".0",
		TaskManagers: tms, SlotsTotal: tms * max(c.launch.Spec.TaskManager.Slots, 1),
	}
	if c.job == "" {
		return out
	}
	c.advance(r.place, run)
	out.Job = c.observed(run)
	if q.TriggerID != "" {
		out.TriggerGone = q.TriggerID != c.trigger
		if !out.TriggerGone {
			out.Trigger = &flink.Trigger{ID: c.trigger, Completed: c.location != "", Location: c.location}
		}
	}
	return out
}

// advance lets a stop that is due come to its end.
func (c *cluster) advance(p *Place, run flink.Run) {
	if c.trigger == "" || c.location != "" || time.Now().Before(c.stopAt) {
		return
	}
	c.location = flink.NormalizePath(c.stopDir) + "/savepoint-" + c.job[:6]
	c.state = flink.JobFinished
	p.paths[c.location] = flink.Snapshot{Path: c.location, Kind: flink.KindSavepoint, CompletedAt: c.stopAt, Run: run}
}

func (c *cluster) observed(run flink.Run) *flink.JobObserved {
	total := c.launch.Spec.Parallelism + 1
	j := &flink.JobObserved{
		ID: c.job, Name: c.launch.Name, State: flink.JobRunning, TasksTotal: total, TasksRunning: total,
		Parallelism: c.launch.Spec.Parallelism, Wanted: c.launch.Spec.Parallelism, StartTime: c.handed, Latest: c.newest(run, time.Now()),
	}
	j.Completed = j.Latest.ID
	if time.Since(c.handed) < deployTakes {
		j.State, j.TasksRunning = flink.JobInitializing, 0
	}
	if c.state != "" {
		j.State, j.TasksRunning = c.state, 0
	}
	if c.from != "" {
		j.Restored = &flink.Restored{Path: flink.NormalizePath(c.from), IsSavepoint: true, At: c.handed}
	}
	return j
}

// Plan implements reconcile.Flink.
func (r REST) Plan(_ context.Context, endpoint string, _ flink.Program) error {
	r.place.mu.Lock()
	defer r.place.mu.Unlock()
	if _, _, ok := r.at(endpoint); !ok {
		return errors.New("connection refused")
	}
	return nil
}

// Submit implements reconcile.Flink. A snapshot that is not there fails the job, as it does in Flink.
func (r REST) Submit(_ context.Context, endpoint string, s flink.Submission) error {
	r.place.mu.Lock()
	defer r.place.mu.Unlock()
	_, c, ok := r.at(endpoint)
	switch {
	case !ok:
		return errors.New("connection refused")
	case c.job != "":
		return nil
	}
	c.job, c.from, c.handed = s.JobID, s.SnapshotPath, time.Now()
	if s.SnapshotPath != "" {
		if _, there := r.place.paths[flink.NormalizePath(s.SnapshotPath)]; !there {
			c.state = flink.JobFailed
		}
	}
	return nil
}

// Stop implements reconcile.Flink.
func (r REST) Stop(_ context.Context, endpoint, jobID, triggerID, directory string) error {
	r.place.mu.Lock()
	defer r.place.mu.Unlock()
	_, c, ok := r.at(endpoint)
	switch {
	case !ok:
		return errors.New("connection refused")
	case c.job != jobID:
		return fmt.Errorf("job %s not found", jobID)
	case c.trigger == "":
		c.trigger, c.stopDir, c.stopAt = triggerID, directory, time.Now().Add(stopTakes)
		r.place.acts++
	}
	return nil
}

// Cancel implements reconcile.Flink.
func (r REST) Cancel(_ context.Context, endpoint, jobID string) error {
	r.place.mu.Lock()
	defer r.place.mu.Unlock()
	run, c, ok := r.at(endpoint)
	if !ok || c.job != jobID {
		return errors.New("connection refused")
	}
	if c.state == "" {
		r.place.settle(run)
		c.state = flink.JobCanceled
		r.place.acts++
	}
	return nil
}
