package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// cut: with the hub cut off the agent brings back what dies, and is brought back itself.
func (t *teller) cut(ctx context.Context) error {
	before := t.job
	began := time.Now()
	if _, err := t.w.Dev(ctx, "cut", "dev-1"); err != nil {
		return err
	}
	edit := t.clicks()
	edit.parallelism = 2
	if err := t.w.Apply(ctx, edit.yaml()); err != nil { // the hub takes it; the agent cannot know
		return err
	}
	jm, err := t.killJobManager(ctx)
	if err != nil {
		return err
	}
	agent, err := t.killAgent(ctx)
	if err != nil {
		return err
	}
	if rest := t.o.cut() - time.Since(began); rest > 0 {
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	own, err := t.inSync(ctx, "")
	if err != nil {
		return err
	}
	stopped := 0
	if f, err := stage.Told(ctx, own.Status.Links.FlinkUI); err != nil || !f.AllRunning() {
		stopped++
	}
	if own.Status.ObservedGeneration != before.Metadata.Generation {
		return fmt.Errorf("generation %d is in force behind the cut, not %d", own.Status.ObservedGeneration, before.Metadata.Generation)
	}
	healed := time.Now()
	if _, err := t.w.Dev(ctx, "heal", "dev-1"); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
	if err != nil {
		return err
	}
	applied := time.Since(healed)
	f, err := stage.Told(ctx, j.Status.Links.FlinkUI)
	if err != nil {
		return err
	}
	if f.Parallelism != 2 || stopped > 0 {
		return fmt.Errorf("parallelism %d after the heal, stopped %d behind the cut", f.Parallelism, stopped)
	}
	t.job = j
	stage.Line(os.Stdout, "hub", "cut_s", t.o.cut(), "jobmanager_killed_back_s", jm, "agent_killed_back_s", agent,
		"stopped_or_deleted", stopped, "edit_made_meanwhile_applied_s", applied)
	return nil
}

// killJobManager kills clicks' JobManager and waits until Flink's REST shows the
// job back from a checkpoint of the dead run. The hub is not asked.
func (t *teller) killJobManager(ctx context.Context) (back time.Duration, err error) {
	old := t.job.Status
	if err := t.checkpointed(ctx, old.Links.FlinkUI); err != nil {
		return 0, err
	}
	killed := time.Now()
	if n, err := stage.Kill(t.job.Metadata.UID, "jm"); err != nil || n != 1 {
		return 0, errors.Join(fmt.Errorf("killed %d JobManagers, not one", n), err)
	}
	return t.backFrom(ctx, old, killed)
}

// backFrom waits until clicks runs as another run that came from a checkpoint of the old one.
func (t *teller) backFrom(ctx context.Context, old stage.Status, killed time.Time) (time.Duration, error) {
	var f stage.FlinkJob
	err := stage.Poll(ctx, 4*time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		own, err := t.w.Own(ctx, "dev-1", "clicks")
		if err != nil || own.Status.Run == old.Run || own.Status.Links.FlinkUI == "" {
			return false, err
		}
		f, err = stage.Flink(ctx, own.Status.Links.FlinkUI)
		return err == nil && f.AllRunning() && f.RestoredSeen, err
	})
	if err != nil {
		return 0, fmt.Errorf("waiting for clicks to be back: %w", err)
	}
	back := time.Since(killed)
	if !strings.Contains(f.Restored, "/"+old.Flink.JobID+"/chk-") {
		return 0, fmt.Errorf("back from %q, which is no checkpoint of job %s", f.Restored, old.Flink.JobID)
	}
	return back, nil
}

// checkpointed waits for a completed checkpoint of the job behind an endpoint.
func (t *teller) checkpointed(ctx context.Context, endpoint string) error {
	return stage.Poll(ctx, 3*time.Minute, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		f, err := stage.Flink(ctx, endpoint)
		return err == nil && f.Completed > 0, err
	})
}

// killAgent kills the agent and waits until the next one says InSync of the same Flink job.
func (t *teller) killAgent(ctx context.Context) (back time.Duration, err error) {
	own, err := t.inSync(ctx, "")
	if err != nil {
		return 0, err
	}
	pid, ok := t.w.Agent("dev-1")
	if !ok {
		return 0, fmt.Errorf("no process of agent dev-1")
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill agent: %w", err)
	}
	err = stage.Poll(ctx, 3*time.Minute, 20*time.Millisecond, func(context.Context) (bool, error) {
		now, ok := t.w.Agent("dev-1")
		return ok && now != pid, nil
	})
	if err != nil {
		return 0, fmt.Errorf("the next agent: %w", err)
	}
	if _, err := t.inSync(ctx, own.Status.Flink.JobID); err != nil {
		return 0, err
	}
	return time.Since(killed), nil
}

// inSync waits until the agent says so, of one Flink job when it is named.
func (t *teller) inSync(ctx context.Context, jobID string) (own stage.Own, err error) {
	err = stage.Poll(ctx, 4*time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		own, err = t.w.Own(ctx, "dev-1", "clicks")
		if err != nil {
			return false, err
		}
		if jobID != "" && own.Status.Flink.JobID != jobID {
			return false, fmt.Errorf("the job at Flink is %s, not %s", own.Status.Flink.JobID, jobID)
		}
		return own.Status.Situation == "InSync", nil
	})
	if err != nil {
		err = fmt.Errorf("waiting for InSync: %w", err)
	}
	return own, err
}

// agentDown: with the agent down every process of the run dies; the next agent brings it back.
func (t *teller) agentDown(ctx context.Context) error {
	own, err := t.inSync(ctx, "")
	if err != nil {
		return err
	}
	if err := t.checkpointed(ctx, own.Status.Links.FlinkUI); err != nil {
		return err
	}
	if _, err := t.w.Dev(ctx, "up", "--no-restart", "agent-dev-1"); err != nil {
		return err
	}
	pid, ok := t.w.Agent("dev-1")
	if !ok {
		return fmt.Errorf("no process of agent dev-1")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill agent: %w", err)
	}
	n, err := stage.Kill(t.job.Metadata.UID, "")
	if err != nil {
		return err
	}
	if err := stage.Poll(ctx, 3*time.Minute, 50*time.Millisecond, func(context.Context) (bool, error) {
		return len(stage.Processes(t.job.Metadata.UID+"-")) == 0, nil
	}); err != nil {
		return fmt.Errorf("waiting for the processes to be gone: %w", err)
	}
	began := time.Now()
	if _, err := t.w.Dev(ctx, "up"); err != nil {
		return err
	}
	back, err := t.backFrom(ctx, own.Status, began)
	if err != nil {
		return err
	}
	j, err := t.w.WaitJob(ctx, "clicks", "Ready", 4*time.Minute, func(j stage.Job) bool {
		return j.Status.Ready() && j.Status.Run != own.Status.Run && j.Status.Freshness == "live"
	})
	if err != nil {
		return err
	}
	t.job = j
	stage.Line(os.Stdout, "agent", "down", true, "processes_killed", n, "back_s", back)
	rep, err := t.stopAndCheck(ctx)
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "ledger", "after", "faults", "rows", rep.Rows, "gaps", rep.Gaps, "repeats", rep.Repeats)
	return nil
}

// otherCluster: nothing of all this touched the job of the other cluster.
func (t *teller) otherCluster(ctx context.Context) error {
	j, err := t.w.Job(ctx, "bystander")
	if err != nil {
		return err
	}
	f, err := stage.Told(ctx, j.Status.Links.FlinkUI)
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "other-cluster", "restarts", int(j.Status.Run)-1+f.Restarts, "job", f.State)
	if j.Status.Run != 1 || f.Restarts != 0 || !f.AllRunning() {
		return fmt.Errorf("the bystander is at run %d, Flink says %+v", j.Status.Run, f)
	}
	return nil
}
