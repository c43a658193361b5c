package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// finished: a bounded job runs once, also after an edit.
func (t *teller) finished(ctx context.Context) error {
	spec := t.clicks()
	spec.name, spec.cluster = "bounded", "dev-2"
	spec.args = []string{"--out", "file://" + t.out + "-bounded", "--rate", "500", "--n", "1000", "--keys", fmt.Sprint(keys)}
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return err
	}
	finished := func(j stage.Job) bool {
		return j.Status.State == "Finished" && len(stage.Processes(j.Metadata.UID+"-")) == 0
	}
	if _, err := t.w.WaitJob(ctx, "bounded", "Finished", 3*time.Minute, finished); err != nil {
		return err
	}
	spec.parallelism = 2
	if err := t.w.Apply(ctx, spec.yaml()); err != nil {
		return err
	}
	j, err := t.w.WaitJob(ctx, "bounded", "Finished with generation 2 on record", 3*time.Minute, func(j stage.Job) bool {
		return finished(j) && j.Metadata.Generation == 2 && j.Status.RecordedGeneration == 2
	})
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "finished", "job", j.Status.State, "runs", j.Status.Run, "after_edit", j.Metadata.Generation)
	if j.Status.Run != 1 {
		return fmt.Errorf("the bounded job ran %d times", j.Status.Run)
	}
	return nil
}

// fault is a spec that cannot start.
type fault struct {
	name, cause string // what `why` must name
	spoil       func(*job)
}

func (t *teller) faults() []fault {
	return []fault{
		{"wrong-class", "com.example.Missing", func(j *job) { j.class = "com.example.Missing" }},
		{"missing-jar", "no-such.jar", func(j *job) { j.jar = "file://" + filepath.Join(filepath.Dir(t.out), "no-such.jar") }},
		{"missing-snapshot", "savepoint-nowhere", func(j *job) { j.snapshot = "file://" + filepath.Join(filepath.Dir(t.out), "savepoint-nowhere") }},
	}
}

// impossible: what cannot start is Failed with its cause, and nothing runs.
func (t *teller) impossible(ctx context.Context) error {
	for _, f := range t.faults() {
		spec := t.clicks()
		spec.name, spec.cluster, spec.args = f.name, "dev-2", []string{"--print"}
		f.spoil(&spec)
		if err := t.w.Apply(ctx, spec.yaml()); err != nil {
			return err
		}
	}
	for _, f := range t.faults() {
		j, err := t.w.WaitJob(ctx, f.name, "Failed with nothing running", 3*time.Minute, func(j stage.Job) bool {
			return j.Status.State == "Failed" && j.Status.Situation == "StartImpossible" && len(stage.Processes(j.Metadata.UID+"-")) == 0
		})
		if err != nil {
			return err
		}
		why, err := t.w.CLI(ctx, "", "why", f.name)
		if err != nil {
			return err
		}
		named := strings.Contains(why, f.cause)
		stage.Line(os.Stdout, f.name, "job", j.Status.State, "processes", 0, "cause_named", named, "why", fmt.Sprintf("%q", strings.TrimSpace(why)))
		if !named {
			return fmt.Errorf("`why %s` does not name %q: %s", f.name, f.cause, why)
		}
	}
	return nil
}

// refusedEdits: the same faults as edits to a healthy job leave it alone.
func (t *teller) refusedEdits(ctx context.Context) error {
	before := t.job.Status
	first, err := stage.Told(ctx, before.Links.FlinkUI)
	if err != nil {
		return err
	}
	for _, f := range t.faults() {
		spec := t.clicks()
		spec.parallelism = 2
		f.spoil(&spec)
		if err := t.w.Apply(ctx, spec.yaml()); err != nil {
			return err
		}
		j, err := t.w.WaitJob(ctx, "clicks", "PreflightRefused", 3*time.Minute, func(j stage.Job) bool {
			return j.Status.Situation == "PreflightRefused" && strings.Contains(j.Status.Message, f.cause)
		})
		if err != nil {
			return err
		}
		own, err := stage.Told(ctx, j.Status.Links.FlinkUI)
		if err != nil {
			return err
		}
		stage.Line(os.Stdout, "edit-"+f.name, "situation", j.Status.Situation, "job", own.State, "same_job", own.ID == before.Flink.JobID, "restarts", own.Restarts-first.Restarts)
		if own.ID != before.Flink.JobID || j.Status.Run != before.Run || own.Restarts != first.Restarts || !own.AllRunning() || j.Status.Ready() {
			return fmt.Errorf("the old run was disturbed: run %d was %d, Flink says %+v", j.Status.Run, before.Run, own)
		}
	}
	if err := t.w.Apply(ctx, t.clicks().yaml()); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", t.job.Metadata.Generation)
	if err != nil {
		return err
	}
	if j.Status.Run != before.Run {
		return fmt.Errorf("the edit back made run %d of %d", j.Status.Run, before.Run)
	}
	t.job = j
	return nil
}

// deleted: a job deleted with a savepoint leaves the savepoint and nothing else.
func (t *teller) deleted(ctx context.Context) error {
	own, err := t.inSync(ctx, "")
	if err != nil {
		return err
	}
	if _, err := t.w.CLI(ctx, "", "delete", "job", "clicks", "--policy", "savepoint"); err != nil {
		return err
	}
	if _, err := t.w.CLI(ctx, "", "wait", "job/clicks", "--for", "deleted", "--timeout", "240s"); err != nil {
		return err
	}
	left := len(stage.Processes(own.UID + "-"))
	found, err := filepath.Glob(filepath.Join(t.w.Dir, "state", "default", own.UID, "savepoints",
		fmt.Sprintf("t1-r%d-*", own.Status.Run), "savepoint-*", "_metadata"))
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "deleted", "savepoint_exists", len(found) == 1, "processes", left)
	if len(found) != 1 || left != 0 {
		return fmt.Errorf("savepoints found: %q, processes left: %d", found, left)
	}
	return nil
}
