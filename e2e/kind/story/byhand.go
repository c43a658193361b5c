package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/flink"
)

// everything is all kinds of objects that a run is made of.
const everything = "deployments,services,configmaps,secrets,networkpolicies"

// objectsDeleted: who deletes a job's objects by hand gets them back, and the job from its newest checkpoint; also when the
// agent was not there to see it.
func (t *teller) objectsDeleted(ctx context.Context) error {
	seen, err := t.deleteObjects(ctx, func() error { return nil })
	if err != nil {
		return fmt.Errorf("with the agent there: %w", err)
	}
	unseen, err := t.deleteObjects(ctx, func() error { return t.scaleAgent(ctx, 2) })
	if err != nil {
		return fmt.Errorf("with the agent away: %w", err)
	}
	stage.Line(os.Stdout, "objects-deleted", "back_s", seen, "agent_away_back_s", unseen)
	return nil
}

// deleteObjects deletes all objects of clicks' run, does what comes after, and waits until the run is back.
func (t *teller) deleteObjects(ctx context.Context, then func() error) (time.Duration, error) {
	run := t.run(t.job.Status.Run)
	newest, err := t.checkpointed(ctx, run)
	if err != nil {
		return 0, err
	}
	deleted := time.Now()
	if _, err := t.c.Kubectl(ctx, "-n", world.JobNamespace, "delete", everything, "-l", "waterwheel.dev/uid="+run.UID, "--wait=false"); err != nil {
		return 0, err
	}
	if err := then(); err != nil {
		return 0, err
	}
	t.witness.Forget()
	return t.healed(ctx, run, newest, deleted)
}

// scaleAgent takes the agent away for a while and brings so many replicas back.
func (t *teller) scaleAgent(ctx context.Context, back int) error {
	for _, n := range []int{0, back} {
		if _, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "scale", "deployment/waterwheel-agent", fmt.Sprintf("--replicas=%d", n)); err != nil {
			return err
		}
		if _, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "rollout", "status", "deployment/waterwheel-agent", "--timeout=5m"); err != nil {
			return err
		}
		if n == 0 {
			if err := pause(ctx, 5*time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordDeleted: who deletes a FlinkJob object by hand stops nothing, and it is written again.
func (t *teller) recordDeleted(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	before := t.told(ctx, run)
	began := time.Now()
	if _, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "delete", "wj", t.job.Metadata.UID); err != nil {
		return err
	}
	err := stage.Poll(ctx, limit, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		name, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "get", "wj", t.job.Metadata.UID, "-o", "jsonpath={.spec.name}")
		return err == nil && name == "clicks", err
	})
	if err != nil {
		return fmt.Errorf("waiting for the object to be written again: %w", err)
	}
	again := time.Since(began)
	if err := t.undisturbed(ctx, run, before, 20*time.Second); err != nil {
		return err
	}
	stage.Line(os.Stdout, "record-deleted", "written_again_s", again, "stopped", 0)
	return nil
}

// agentGone: without an agent the job runs on.
func (t *teller) agentGone(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	before := t.told(ctx, run)
	if _, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "delete", "deployment", "waterwheel-agent"); err != nil {
		return err
	}
	if err := t.undisturbed(ctx, run, before, time.Minute); err != nil {
		return err
	}
	began := time.Now()
	if err := t.upgradeAgent(ctx, nil); err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return err
	}
	if err := t.undisturbed(ctx, run, before, time.Second); err != nil {
		return err
	}
	stage.Line(os.Stdout, "agent-gone", "away_s", 60, "disturbed", 0, "acts_again_s", time.Since(began))
	return nil
}

// upgradeAgent upgrades the agent's chart with the values it has, and more.
func (t *teller) upgradeAgent(ctx context.Context, more map[string]any) error {
	if more == nil {
		more = map[string]any{}
	}
	return t.f.Helm(ctx, t.c, more, "helm upgrade waterwheel-agent charts/waterwheel-agent --namespace "+world.AgentNamespace+" --reuse-values")
}

// held: a person's hold stops every change, the hub says so, and what was wanted meanwhile comes after it.
func (t *teller) held(ctx context.Context) error {
	before := t.job
	if err := t.inSync(ctx); err != nil {
		return err
	}
	annotate := func(value string) error {
		_, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "annotate", "--overwrite", "wj", before.Metadata.UID, "waterwheel.dev/hold"+value)
		return err
	}
	if err := annotate("=audit by jane"); err != nil {
		return err
	}
	held := func(j stage.Job) bool {
		for _, c := range j.Status.Conditions {
			if c.Type == "Held" {
				return c.Status == "True"
			}
		}
		return false
	}
	if _, err := t.w.WaitJob(ctx, "clicks", "Held", limit, held); err != nil {
		return err
	}
	_, mark, err := t.c.Audit(0)
	if err != nil {
		return err
	}
	edit, err := t.otherwise(ctx)
	if err != nil {
		return err
	}
	if err := t.w.Apply(ctx, edit.yaml()); err != nil {
		return err
	}
	if err := pause(ctx, 30*time.Second); err != nil {
		return err
	}
	events, _, err := t.c.Audit(mark)
	if err != nil {
		return err
	}
	deletes, patches := touched(events)
	said, err := t.f.CLI(ctx, "", "describe", "job", "clicks")
	if err != nil {
		return err
	}
	now, err := t.w.Job(ctx, "clicks")
	if err != nil {
		return err
	}
	if deletes+patches > 0 || now.Status.Run != before.Status.Run || !strings.Contains(said, "audit by jane") {
		return fmt.Errorf("held, and the agent sent %d deletes and %d writes to workloads, run %d was %d, describe says: %s", deletes, patches, now.Status.Run, before.Status.Run, said)
	}
	if err := annotate("-"); err != nil {
		return err
	}
	j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
	if err != nil {
		return err
	}
	t.job = j
	stage.Line(os.Stdout, "hold", "changes", deletes+patches, "hub_says", "audit by jane", "applied_after_it", true)
	return nil
}

// bystander: nothing of all this was felt in the other customer's cluster.
func (t *teller) bystander(ctx context.Context) error {
	j, err := t.w.Job(ctx, "bystander")
	if err != nil {
		return err
	}
	if j.Status.Run != 1 || !j.Status.Ready() {
		return fmt.Errorf("bystander is at run %d: %s", j.Status.Run, j.Status.Message)
	}
	seen := told(ctx, world.NewWitness(t.f.Customers[1]), flink.Run{UID: j.Metadata.UID, Term: 1, Run: 1})
	if seen.Job == nil || !seen.Job.AllRunning() || seen.Job.Restored != nil {
		return fmt.Errorf("what Flink says: %+v %s", seen.Job, seen.Err)
	}
	stage.Line(os.Stdout, "second-customer", "restarts", 0)
	return nil
}

// told is what Flink says of a run: asked again while it says nothing or not all, since a JobManager on a busy node may be
// slow to answer and does its work all the same. What it still does not say after that, the caller finds missing.
func told(ctx context.Context, w *world.Witness, run flink.Run) (s flink.REST) {
	_ = stage.Poll(ctx, answers, time.Second, func(ctx context.Context) (bool, error) {
		s = w.Observe(ctx, run)
		return s.Job != nil && s.Err == "", nil
	})
	return s
}

func (t *teller) told(ctx context.Context, run flink.Run) flink.REST {
	return told(ctx, t.witness, run)
}

// inSync waits until the hub hears from the agent that clicks is as it should be.
func (t *teller) inSync(ctx context.Context) error {
	since := time.Now()
	j, err := t.w.WaitJob(ctx, "clicks", "InSync", limit, func(j stage.Job) bool {
		return j.Status.Ready() && j.Status.Freshness == "live" && j.Status.AsOf.After(since)
	})
	t.job = j
	return err
}

// undisturbed watches for a while that a run's job is the same life as before and runs.
func (t *teller) undisturbed(ctx context.Context, run flink.Run, before flink.REST, lasts time.Duration) error {
	if before.Job == nil {
		return errors.New("what Flink said before: " + before.Err)
	}
	end := time.Now().Add(lasts)
	for {
		s := t.told(ctx, run)
		if s.Job == nil || !s.Job.StartTime.Equal(before.Job.StartTime) || !s.Job.AllRunning() {
			return fmt.Errorf("run %s was disturbed: started %s, now %+v %s", run, before.Job.StartTime, s.Job, s.Err)
		}
		if time.Now().After(end) {
			return nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
