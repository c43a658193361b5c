package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// ready waits until a job is Ready at a generation of its spec later than after.
func (t *teller) ready(ctx context.Context, name string, after int32) (stage.Job, error) {
	return t.w.WaitJob(ctx, name, fmt.Sprintf("Ready after generation %d", after), 4*time.Minute, func(j stage.Job) bool {
		return j.Metadata.Generation > after && j.Status.ObservedGeneration == j.Metadata.Generation && j.Status.Ready() && j.Status.Freshness == "live"
	})
}

// running: a declared job becomes a running Flink job.
func (t *teller) running(ctx context.Context) error {
	began := time.Now()
	other := t.clicks()
	other.name, other.cluster, other.args = "bystander", "dev-2", []string{"--print", "--rate", "20"}
	if err := t.w.Apply(ctx, t.clicks().yaml()); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", 0)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := t.w.Apply(ctx, other.yaml()); err != nil {
		return err
	}
	if _, err := t.ready(ctx, "bystander", 0); err != nil {
		return err
	}
	f, err := stage.Told(ctx, j.Status.Links.FlinkUI)
	if err != nil {
		return err
	}
	if !f.AllRunning() || f.RestoredSeen {
		return fmt.Errorf("what Flink says: %+v", f)
	}
	t.job = j
	stage.Line(os.Stdout, "running", "flink", f.Version, "job", f.State, "tasks", fmt.Sprintf("%d/%d", f.Running, f.Total), "running_s", took)
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
	ratio := warm.Seconds() / cold.Seconds()
	stage.Line(os.Stdout, "parallelism", "intended==restored", true, "rows", rep.Rows, "gaps", rep.Gaps, "repeats", rep.Repeats,
		"outage_warm_s", warm, "outage_cold_s", cold, "ratio", ratio)
	return nil
}

// edit applies a spec that differs in parallelism and measures the outage: from
// the birth of the savepoint's directory (the old JobManager makes it when it is
// asked to stop) until Flink's REST shows all tasks of the new run.
func (t *teller) edit(ctx context.Context, spec job) (outage time.Duration, path string, err error) {
	before := t.job
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return 0, "", err
	}
	var up time.Time
	var now stage.FlinkJob
	err = stage.Poll(ctx, 4*time.Minute, 40*time.Millisecond, func(ctx context.Context) (bool, error) {
		own, err := t.w.Own(ctx, "dev-1", "clicks")
		if err != nil || own.Status.Run == before.Status.Run || own.Status.Links.FlinkUI == "" {
			return false, err
		}
		now, err = stage.Flink(ctx, own.Status.Links.FlinkUI)
		up = time.Now()
		return err == nil && now.AllRunning() && now.RestoredSeen, err
	})
	if err != nil {
		return 0, "", fmt.Errorf("the new run: %w", err)
	}
	j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
	if err != nil {
		return 0, "", err
	}
	t.job = j
	path = stage.Normal(now.Restored)
	if r := j.Status.Restored; !r.Proven || stage.Normal(r.Intended) != path || now.ID == before.Status.Flink.JobID {
		return 0, "", fmt.Errorf("intended %q, Flink restored %q, proven=%t, job id %s was %s", r.Intended, path, r.Proven, now.ID, before.Status.Flink.JobID)
	}
	if now.Parallelism != spec.parallelism {
		return 0, "", fmt.Errorf("parallelism is %d, not %d", now.Parallelism, spec.parallelism)
	}
	born, err := stage.Born(filepath.Dir(stage.Local(path)))
	if err != nil {
		return 0, "", err
	}
	return up.Sub(born), path, nil
}

// stopAndCheck suspends clicks, reads what it wrote, and lets it go on.
func (t *teller) stopAndCheck(ctx context.Context) (ledger.Report, error) {
	rep, err := t.suspendAndCheck(ctx)
	if err != nil {
		return rep, err
	}
	return rep, t.resume(ctx)
}

func (t *teller) suspendAndCheck(ctx context.Context) (ledger.Report, error) {
	spec := t.clicks()
	spec.state = "suspended"
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return ledger.Report{}, err
	}
	j, err := t.w.WaitJob(ctx, "clicks", "Suspended", 4*time.Minute, func(j stage.Job) bool {
		return j.Status.State == "Suspended" && len(stage.Processes(j.Metadata.UID+"-")) == 0
	})
	if err != nil {
		return ledger.Report{}, err
	}
	t.job = j
	rep, err := ledger.Check(t.out, keys)
	if err != nil {
		return rep, err
	}
	return rep, rep.Err()
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
	f, err := stage.Told(ctx, j.Status.Links.FlinkUI)
	if err != nil {
		return err
	}
	if savepoint.Kind != "savepoint" || stage.Normal(f.Restored) != stage.Normal(savepoint.Path) {
		return fmt.Errorf("resumed from %q, suspended with %s %q", f.Restored, savepoint.Kind, savepoint.Path)
	}
	return nil
}

// suspended: a suspended job holds no process, and resumes with its state.
func (t *teller) suspended(ctx context.Context) error {
	rep, err := t.suspendAndCheck(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := t.resume(ctx); err != nil {
		return err
	}
	stage.Line(os.Stdout, "suspend,resume", "intended==restored", true, "path", t.job.Status.Restored.Actual, "gaps", rep.Gaps, "repeats", rep.Repeats, "resume_s", time.Since(began))
	return nil
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
