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

// name of the example job in docs/examples/ledger.yaml.
const name = "ledger"

// tour is what may happen to a job.
func (g *guide) tour(ctx context.Context, j stage.Job) error {
	j, err := g.change(ctx, j)
	if err != nil {
		return err
	}
	g.say("The hub is cut off from dev-1: nothing passes")
	cut := time.Now()
	if err := g.show(ctx, "dev", "cut", "dev-1"); err != nil {
		return err
	}
	if err := g.killJobManager(ctx, j); err != nil {
		return err
	}
	if err := g.killAgent(ctx); err != nil {
		return err
	}
	if err := g.show(ctx, "dev", "status"); err != nil {
		return err
	}
	select {
	case <-time.After(g.cut - time.Since(cut)):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	g.say("The hub is back, and is told everything")
	if err := g.show(ctx, "dev", "heal", "dev-1"); err != nil {
		return err
	}
	healed := time.Now()
	j, err = g.w.WaitJob(ctx, name, "a live status of the new run", 3*time.Minute, func(now stage.Job) bool {
		return now.Status.Ready() && now.Status.Freshness == "live" && now.Status.Run > j.Status.Run && now.Status.Situation == "InSync"
	})
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "healed", "told_s", time.Since(healed), "run", j.Status.Run, "restored", j.Status.Restored.Actual)
	if err := g.show(ctx, "get", "jobs"); err != nil {
		return err
	}
	return g.show(ctx, "why", name)
}

// change carries an edit through, with the state.
func (g *guide) change(ctx context.Context, j stage.Job) (stage.Job, error) {
	g.say("The job's parallelism is changed: the next run is warmed, then takes over from a savepoint")
	text, err := os.ReadFile("docs/examples/ledger.yaml")
	if err != nil {
		return j, err
	}
	edited := strings.Replace(string(text), "parallelism: 1", "parallelism: 2", 1)
	if edited == string(text) { // a second demo in the same world, or another example
		edited = strings.Replace(string(text), "parallelism: 2", "parallelism: 1", 1)
	}
	fmt.Println("        $ sed 's/parallelism: 1/parallelism: 2/' docs/examples/ledger.yaml | waterwheel apply -f -")
	if err := g.w.Apply(ctx, edited); err != nil {
		return j, err
	}
	now, err := g.ready(ctx, j.Metadata.Generation)
	if err != nil {
		return now, err
	}
	var f stage.FlinkJob // until it has a checkpoint of its own, too
	err = stage.Poll(ctx, 2*time.Minute, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		f, err = stage.Flink(ctx, now.Status.Links.FlinkUI)
		return err == nil && f.AllRunning() && f.Completed > 0, err
	})
	if err != nil {
		return now, err
	}
	if f.Restored == "" || stage.Normal(f.Restored) != stage.Normal(now.Status.Restored.Intended) {
		return now, fmt.Errorf("the changed job started from %q in place of %q", f.Restored, now.Status.Restored.Intended)
	}
	stage.Line(os.Stdout, "changed", "parallelism", f.Parallelism, "intended==restored", true, "restored", f.Restored)
	return now, nil
}

func (g *guide) killJobManager(ctx context.Context, j stage.Job) error {
	g.say("The JobManager is killed with -9; the agent brings the job back from its newest checkpoint, with no hub")
	killed := time.Now()
	if n, err := stage.Kill(j.Metadata.UID, "jm"); err != nil || n == 0 {
		return errors.Join(fmt.Errorf("killed %d JobManagers", n), err)
	}
	var f stage.FlinkJob
	err := stage.Poll(ctx, 3*time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		own, err := g.w.Own(ctx, "dev-1", name)
		if err != nil || own.Status.Run == j.Status.Run || own.Status.Links.FlinkUI == "" {
			return false, err
		}
		f, err = stage.Flink(ctx, own.Status.Links.FlinkUI)
		return err == nil && f.AllRunning() && f.RestoredSeen, err
	})
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "jobmanager", "killed_back_s", time.Since(killed), "restored", f.Restored)
	return nil
}

func (g *guide) killAgent(ctx context.Context) error {
	g.say("The agent is killed with -9; Flink does not notice, and the next agent finds it")
	before, err := g.w.Own(ctx, "dev-1", name)
	if err != nil {
		return err
	}
	pid, ok := g.w.Agent("dev-1")
	if !ok {
		return fmt.Errorf("no process of agent dev-1")
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	err = stage.Poll(ctx, time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		if now, ok := g.w.Agent("dev-1"); !ok || now == pid {
			return false, nil
		}
		own, err := g.w.Own(ctx, "dev-1", name)
		return err == nil && own.Status.Situation == "InSync" && own.Status.Flink.JobID == before.Status.Flink.JobID, err
	})
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "agent", "killed_back_s", time.Since(killed), "same_flink_job", true)
	return nil
}
