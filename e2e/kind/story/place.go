package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/flink"
)

// apiAway: with the API server gone for a minute the job goes on, or comes back by itself when the server is back.
func (t *teller) apiAway(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	newest, err := t.checkpointed(ctx, run)
	if err != nil {
		return err
	}
	before := t.told(ctx, run)
	if before.Job == nil {
		return errors.New("what Flink said before: " + before.Err)
	}
	began := time.Now()
	start, err := t.c.StopAPIServer(ctx)
	if err != nil {
		return err
	}
	waited := pause(ctx, time.Minute)
	if err := errors.Join(waited, start(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	away, returned := time.Since(began), time.Now()
	back, restarted, err := t.workedAgain(ctx, run, before, newest, returned)
	if err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return err
	}
	stage.Line(os.Stdout, "api-away", "away_s", away, "restarted", restarted, "back_s", back)
	return nil
}

// workedAgain waits until a run completes checkpoints again, in the same life or a new one of its own.
func (t *teller) workedAgain(ctx context.Context, run flink.Run, before flink.REST, newest flink.Snapshot, since time.Time) (back time.Duration, restarted bool, err error) {
	first := flink.Snapshot{}
	err = stage.Poll(ctx, limit, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		s := t.witness.Observe(ctx, run)
		if s.Job == nil || !s.Job.AllRunning() {
			return false, fmt.Errorf("%+v %s", s.Job, s.Err)
		}
		restarted = !s.Job.StartTime.Equal(before.Job.StartTime)
		if restarted {
			if s.Job.Restored == nil {
				return false, nil
			}
			if n, ok := flink.CheckpointID(s.Job.Restored.Path); !ok || n < newest.ID {
				return false, fmt.Errorf("it had completed %s and came back from %s", newest.Path, s.Job.Restored.Path)
			}
		}
		if first.IsZero() {
			first = s.Job.Latest
		}
		return s.Job.Latest.ID > first.ID && s.Job.Latest.CompletedAt.After(since), nil
	})
	if err != nil {
		return 0, restarted, fmt.Errorf("run %s: waiting for it to work again: %w", run, err)
	}
	return time.Since(since), restarted, nil
}

// killedBetween: a JobManager that is killed between its start and its job's, and while the job is handed in, makes no
// second job.
func (t *teller) killedBetween(ctx context.Context) error {
	for _, when := range []struct {
		name string
		now  func(flink.REST) bool
	}{
		{"before the job is handed in", func(s flink.REST) bool { return s.JobsListed && s.Job == nil }},
		{"while the job is handed in", func(s flink.REST) bool { return s.Job != nil && !s.Job.AllRunning() }},
	} {
		before := t.job
		edit, err := t.otherwise(ctx)
		if err != nil {
			return err
		}
		if err := t.w.Apply(ctx, edit.yaml()); err != nil {
			return err
		}
		next := t.run(before.Status.Run + 1)
		err = stage.Poll(ctx, limit, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
			s := t.witness.Observe(ctx, next)
			if s.Job != nil && s.Job.AllRunning() {
				return true, nil // missed it: what follows holds all the same
			}
			return when.now(s), nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", when.name, err)
		}
		labels := fmt.Sprintf("waterwheel.dev/uid=%s,waterwheel.dev/run=%d,waterwheel.dev/component=jobmanager", next.UID, next.Run)
		if _, err := t.c.Kill(ctx, world.JobNamespace, labels, "jobmanager"); err != nil {
			return fmt.Errorf("%s: %w", when.name, err)
		}
		j, err := t.ready(ctx, "clicks", before.Metadata.Generation)
		if err != nil {
			return fmt.Errorf("%s: %w", when.name, err)
		}
		t.job = j
	}
	rep, err := t.stopAndCheck(ctx)
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "killed-between", "jobs", 1, "rows", rep.Rows, "gaps", rep.Gaps, "repeats", rep.Repeats)
	return nil
}

// node: a node that stands still for a minute, and one that is restarted, come back with their job.
func (t *teller) node(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	newest, err := t.checkpointed(ctx, run)
	if err != nil {
		return err
	}
	before := t.told(ctx, run)
	if before.Job == nil {
		return errors.New("what Flink said before: " + before.Err)
	}
	if err := t.c.Pause(ctx); err != nil {
		return err
	}
	waited := pause(ctx, time.Minute)
	if err := errors.Join(waited, t.c.Unpause(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	paused, restarted, err := t.workedAgain(ctx, run, before, newest, time.Now())
	if err != nil {
		return err
	}
	if newest, err = t.checkpointed(ctx, run); err != nil {
		return err
	}
	began := time.Now()
	if err := t.c.Restart(ctx); err != nil {
		return err
	}
	if err := t.c.WaitReady(ctx); err != nil {
		return err
	}
	t.witness.Forget()
	back, err := t.healed(ctx, run, newest, began)
	if err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return err
	}
	stage.Line(os.Stdout, "node", "paused_s", 60, "paused_back_s", paused, "paused_restarted", restarted, "restarted_back_s", back)
	return nil
}
