package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/flink"
)

// agentUser is who the agent is to the API server.
const agentUser = "system:serviceaccount:" + world.AgentNamespace + ":waterwheel-agent"

// cut: with the hub cut off, a killed JobManager and a killed agent come back, the agent touches no workload, and an edit
// made meanwhile comes after.
func (t *teller) cut(ctx context.Context) error {
	before := t.job
	if _, err := t.checkpointed(ctx, t.run(before.Status.Run)); err != nil {
		return err
	}
	_, mark, err := t.c.Audit(0)
	if err != nil {
		return err
	}
	began := time.Now()
	heal, err := cluster.Cut(ctx, t.c.NodeIP, t.f.Vendor.NodeIP)
	if err != nil {
		return err
	}
	defer func() { _ = heal() }() // a second time does nothing
	edit, err := t.otherwise(ctx)
	if err != nil {
		return err
	}
	if err := t.w.Apply(ctx, edit.yaml()); err != nil { // the hub takes it; the agent cannot know
		return err
	}
	jm, err := t.killJobManager(ctx)
	if err != nil {
		return err
	}
	agent, err := t.killAgents(ctx)
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
	events, _, err := t.c.Audit(mark)
	if err != nil {
		return err
	}
	deletes, patches := touched(events)
	if s := t.told(ctx, t.run(before.Status.Run)); s.Job == nil || !s.Job.AllRunning() || deletes+patches > 0 {
		return fmt.Errorf("behind the cut run %s is %+v %s, and the agent sent %d deletes and %d writes to workloads", t.run(before.Status.Run), s.Job, s.Err, deletes, patches)
	}
	lasted, healed := time.Since(began), time.Now()
	if err := heal(); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
	if err != nil {
		return err
	}
	t.job = j
	if s := t.told(ctx, t.run(j.Status.Run)); s.Job == nil || int(s.Job.Parallelism) != edit.parallelism {
		return fmt.Errorf("after the heal Flink says %+v %s", s.Job, s.Err)
	}
	stage.Line(os.Stdout, "hub", "cut_s", lasted, "jobmanager_killed_back_s", jm, "agent_killed_back_s", agent, "deletes", deletes, "patches", patches,
		"edit_made_meanwhile_applied_s", time.Since(healed))
	return nil
}

// touched counts what the agent sent to workloads that changed them.
func touched(events []cluster.AuditEvent) (deletes, patches int) {
	ours := []string{"deployments", "services", "configmaps", "secrets", "networkpolicies", "pods"}
	for _, e := range events {
		if e.User.Username != agentUser || e.ObjectRef.Namespace != world.JobNamespace || !slices.Contains(ours, e.ObjectRef.Resource) {
			continue
		}
		switch e.Verb {
		case "delete", "deletecollection":
			deletes++
		case "patch", "update", "create":
			patches++
		}
	}
	return deletes, patches
}

// checkpointed waits for two more completed checkpoints of a run and returns the newest.
func (t *teller) checkpointed(ctx context.Context, run flink.Run) (flink.Snapshot, error) {
	first, last := int64(-1), flink.Snapshot{}
	err := stage.Poll(ctx, limit, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		s := t.witness.Observe(ctx, run)
		if s.Job == nil {
			return false, errors.New(s.Err)
		}
		if first < 0 || s.Job.Completed < first { // a new life counts anew
			first = s.Job.Completed
		}
		last = s.Job.Latest
		return s.Job.Completed >= first+2, nil
	})
	if err != nil {
		return last, fmt.Errorf("run %s: waiting for checkpoints: %w", run, err)
	}
	return last, nil
}

// killJobManager kills the pod of clicks' JobManager and waits until the same run is back from a checkpoint of its own.
func (t *teller) killJobManager(ctx context.Context) (time.Duration, error) {
	run := t.run(t.job.Status.Run)
	newest, err := t.checkpointed(ctx, run)
	if err != nil {
		return 0, err
	}
	killed := time.Now()
	pods := fmt.Sprintf("waterwheel.dev/uid=%s,waterwheel.dev/run=%d,waterwheel.dev/component=jobmanager", run.UID, run.Run)
	if _, err := t.c.Kubectl(ctx, "-n", world.JobNamespace, "delete", "pod", "-l", pods, "--grace-period=0", "--force", "--wait=false"); err != nil {
		return 0, err
	}
	return t.healed(ctx, run, newest, killed)
}

// healed waits until a run's job runs again from a checkpoint that is not older than the newest one seen.
func (t *teller) healed(ctx context.Context, run flink.Run, newest flink.Snapshot, since time.Time) (time.Duration, error) {
	var from string
	err := stage.Poll(ctx, limit, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		s := t.witness.Observe(ctx, run)
		if s.Job == nil {
			return false, errors.New(s.Err)
		}
		if s.Job.Restored != nil {
			from = s.Job.Restored.Path
		}
		return s.Job.AllRunning() && s.Job.StartTime.After(since) && s.Job.Restored != nil && !s.Job.Restored.IsSavepoint, nil
	})
	if err != nil {
		return 0, fmt.Errorf("run %s: waiting for it to come back by itself: %w", run, err)
	}
	took := time.Since(since)
	if n, ok := flink.CheckpointID(from); !ok || n < newest.ID || !strings.Contains(from, "/"+run.JobID()+"/") {
		return 0, fmt.Errorf("run %s had completed %s and came back from %s", run, newest.Path, from)
	}
	return took, nil
}

// killAgents kills the agent's pods and waits until one of those that follow acts again, as its status of clicks in the
// cluster tells.
func (t *teller) killAgents(ctx context.Context) (time.Duration, error) {
	killed := time.Now()
	if _, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "delete", "pod", "-l", "app.kubernetes.io/name=waterwheel-agent", "--grace-period=0", "--force", "--wait=false"); err != nil {
		return 0, err
	}
	err := stage.Poll(ctx, limit, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		text, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "get", "lease", "waterwheel-agent", "-o", "jsonpath={.spec.holderIdentity} {.spec.acquireTime}")
		if err != nil {
			return false, err
		}
		_, at, _ := strings.Cut(text, " ")
		acquired, err := time.Parse(time.RFC3339Nano, at)
		return err == nil && acquired.After(killed), err
	})
	if err != nil {
		return 0, fmt.Errorf("waiting for the agent to act again: %w", err)
	}
	return time.Since(killed), nil
}
