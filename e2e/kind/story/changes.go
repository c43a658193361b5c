package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/flink"
)

// limit is for what takes seconds on a machine with nothing else to do.
const (
	limit   = 5 * time.Minute
	answers = time.Minute // of a JobManager that lives
)

// run is the run of clicks of that number.
func (t *teller) run(n int32) flink.Run { return flink.Run{UID: t.job.Metadata.UID, Term: 1, Run: n} }

// ready waits until a job is Ready at a generation of its spec later than after.
func (t *teller) ready(ctx context.Context, name string, after int32) (stage.Job, error) {
	return t.w.WaitJob(ctx, name, fmt.Sprintf("Ready after generation %d", after), limit, func(j stage.Job) bool {
		return j.Metadata.Generation > after && j.Status.ObservedGeneration == j.Metadata.Generation && j.Status.Ready() && j.Status.Freshness == "live"
	})
}

// running: a declared job becomes a running Flink job.
func (t *teller) running(ctx context.Context) error {
	began := time.Now()
	if err := t.w.Apply(ctx, t.clicks().yaml()); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", 0)
	if err != nil {
		return err
	}
	took := time.Since(began)
	t.job = j
	seen := t.told(ctx, t.run(j.Status.Run))
	if seen.Job == nil || !seen.Job.AllRunning() || seen.Job.Restored != nil {
		return fmt.Errorf("what Flink says: %+v %s", seen.Job, seen.Err)
	}
	if t.o.customers() > 1 {
		other := t.clicks()
		other.name, other.cluster, other.args = "bystander", "c2", []string{"--print", "--rate", "20"}
		if err := t.w.Apply(ctx, other.yaml()); err != nil {
			return err
		}
		if _, err := t.ready(ctx, "bystander", 0); err != nil {
			return err
		}
	}
	stage.Line(os.Stdout, "running", "flink", seen.FlinkVersion, "job", seen.Job.State, "tasks", fmt.Sprintf("%d/%d", seen.Job.TasksRunning, seen.Job.TasksTotal), "running_s", took)
	return nil
}

// changed: parallelism is changed, warm and cold; the state comes along.
func (t *teller) changed(ctx context.Context) error {
	var outages [2][]time.Duration
	p := 1
	for i := range 2 * t.o.edits() {
		kind := []int{0, 1, 1, 0}[i%4] // both kinds go up and down
		p = 3 - p
		spec := t.clicks()
		spec.parallelism, spec.change = p, []string{"warm", "cold"}[kind]
		outage, path, err := t.edit(ctx, spec)
		if err != nil {
			return err
		}
		outages[kind] = append(outages[kind], outage)
		stage.Line(os.Stdout, "edit", "switch", spec.change, "parallelism", p, "outage_s", outage, "path", path)
	}
	rep, err := t.stopAndCheck(ctx)
	if err != nil {
		return err
	}
	warm, cold := median(outages[0]), median(outages[1])
	stage.Line(os.Stdout, "parallelism", "intended==restored", true, "rows", rep.Rows, "gaps", rep.Gaps, "repeats", rep.Repeats,
		"outage_warm_s", warm, "outage_cold_s", cold, "ratio", warm.Seconds()/cold.Seconds())
	return nil
}

// otherwise is clicks with another parallelism than it has.
func (t *teller) otherwise(ctx context.Context) (job, error) {
	seen := t.told(ctx, t.run(t.job.Status.Run))
	if seen.Job == nil {
		return job{}, errors.New("what Flink says: " + seen.Err)
	}
	j := t.clicks()
	j.parallelism = 3 - int(seen.Job.Parallelism)
	return j, nil
}

// edit applies a spec that differs in parallelism and measures the outage: from the birth of the savepoint's directory,
// which the old JobManager makes when it is asked to stop, until Flink's REST shows all tasks of the new run.
func (t *teller) edit(ctx context.Context, spec job) (outage time.Duration, path string, err error) {
	before := t.job
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return 0, "", err
	}
	next := t.run(before.Status.Run + 1)
	var up time.Time
	var seen *flink.JobObserved
	err = stage.Poll(ctx, limit, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		s := t.witness.Observe(ctx, next)
		up, seen = time.Now(), s.Job
		if s.Job == nil {
			return false, errors.New(s.Err)
		}
		return s.Job.AllRunning() && s.Job.Restored != nil && s.Job.Parallelism > 0, nil
	})
	if err != nil {
		return 0, "", fmt.Errorf("run %s: %w", next, err)
	}
	j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
	if err != nil {
		return 0, "", err
	}
	t.job = j
	path = seen.Restored.Path
	if r := j.Status.Restored; !r.Proven || r.Intended != path || j.Status.Run != next.Run {
		return 0, "", fmt.Errorf("intended %q, Flink restored %q, proven=%t, run %d", r.Intended, path, r.Proven, j.Status.Run)
	}
	if int(seen.Parallelism) != spec.parallelism {
		return 0, "", fmt.Errorf("parallelism is %d, not %d", seen.Parallelism, spec.parallelism)
	}
	dir, err := t.f.Storage.Path(path)
	if err != nil {
		return 0, "", err
	}
	born, err := stage.Born(filepath.Dir(dir)) // of this stop alone
	if err != nil {
		return 0, "", err
	}
	return up.Sub(born), path, nil
}

// stopAndCheck suspends clicks, reads what it wrote, and lets it go on.
func (t *teller) stopAndCheck(ctx context.Context) (ledger.Report, error) {
	spec := t.clicks()
	spec.state = "suspended"
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return ledger.Report{}, err
	}
	j, err := t.w.WaitJob(ctx, "clicks", "Suspended", limit, func(j stage.Job) bool { return j.Status.State == "Suspended" })
	if err != nil {
		return ledger.Report{}, err
	}
	t.job = j
	rep, err := t.f.Storage.Ledger(t.out, keys)
	if err != nil {
		return rep, err
	}
	if err := rep.Err(); err != nil {
		return rep, err
	}
	return rep, t.resume(ctx)
}

func (t *teller) resume(ctx context.Context) error {
	savepoint := t.job.Status.Snapshot
	if err := t.w.Apply(ctx, t.clicks().yaml()); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", t.job.Metadata.Generation)
	if err != nil {
		return err
	}
	t.job = j
	seen := t.told(ctx, t.run(j.Status.Run))
	if savepoint.Kind != "savepoint" || seen.Job == nil || seen.Job.Restored == nil || seen.Job.Restored.Path != savepoint.Path {
		return fmt.Errorf("suspended with %s %q, and what Flink says after the resume: %+v %s", savepoint.Kind, savepoint.Path, seen.Job, seen.Err)
	}
	return nil
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
