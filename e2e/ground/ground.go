package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/agent/reconcile"
	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// What the job is told.
const (
	keys      = 10
	rowsPerS  = 500
	perAnswer = 500 * time.Millisecond // how often REST is asked while we wait
)

// ground is one job on one version of Flink.
type ground struct {
	runtime   reconcile.Runtime
	rest      reconcile.Flink
	snapshots reconcile.Snapshots
	random    *mathrand.Rand
	dir       string // all of it: agent, state, output
	stateRoot string
	uid       string
	spec      flink.Spec
	runs      []flink.Run
	log       *os.File
}

// result is what was seen.
type result struct {
	flink              string // version, by its REST
	start              time.Duration
	back               []time.Duration
	intended, restored string
	ledger             ledger.Report
}

func (r result) String() string {
	back := make([]string, len(r.back))
	for i, d := range r.back {
		back[i] = fmt.Sprintf("%.1f", d.Seconds())
	}
	return fmt.Sprintf("start_s=%.1f back_s=%s intended=%s restored=%s %s",
		r.start.Seconds(), strings.Join(back, ","), r.intended, r.restored, r.ledger)
}

func newGround(d flinkdist.Dist, java, jar, dir string, o options) (*ground, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "ground.log"))
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	minor := d.Version[:strings.LastIndexByte(d.Version, '.')]
	g := &ground{
		// What the agent asks again, this program asks once and waits for.
		rest:      flinkrest.New(flinkrest.Config{Logger: logger, Timeout: time.Minute, ObserveTimeout: time.Minute, ProgramTimeout: 3 * time.Minute}),
		snapshots: process.Snapshots{},
		random:    mathrand.New(mathrand.NewPCG(o.seed, 0)), dir: dir, stateRoot: filepath.Join(dir, "state"),
		uid: "g" + hex.EncodeToString(random(4)), log: log,
		spec: flink.Default(flink.Spec{
			FlinkVersion: minor, Parallelism: 2, Checkpointing: flink.Checkpointing{Interval: "1s"},
			Jar: flink.Jar{
				URI: "file://" + jar, EntryClass: ledger.MainClass,
				Args: []string{"--out", filepath.Join(dir, "ledger"), "--rate", fmt.Sprint(rowsPerS), "--keys", fmt.Sprint(keys)},
			},
			JobManager:  flink.Resources{Memory: "448Mi"},
			TaskManager: flink.TaskManager{Resources: flink.Resources{Memory: "384Mi"}, Slots: 1},
		}),
	}
	g.runtime, err = process.New(process.Config{
		Dir: filepath.Join(dir, "agent"), Dists: map[string]string{minor: d.Home}, Java: java,
		StateRoot: g.stateRoot, MemoryTotal: g.spec.MemoryBytes(), Logger: logger,
	})
	return g, err
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// rounds is the whole story.
func (g *ground) rounds(ctx context.Context, n int) (result, error) {
	var r result
	began := time.Now()
	run, seen, err := g.start(ctx, "")
	if err != nil {
		return r, err
	}
	r.start, r.flink = time.Since(began), seen.FlinkVersion
	if seen.Job.Restored != nil {
		return r, fmt.Errorf("the first run came back from %s, it has to start from nothing", seen.Job.Restored.Path)
	}
	for range n {
		last, err := g.someTime(ctx, run)
		if err != nil {
			return r, err
		}
		killed := time.Now()
		newest, err := g.lose(ctx, run)
		if err != nil {
			return r, err
		}
		if newest.ID < last.ID {
			return r, fmt.Errorf("run %s told of %s, in its directory the newest is %q", run, last.Path, newest.Path)
		}
		r.intended = newest.Path
		if run, seen, err = g.start(ctx, newest.Path); err != nil {
			return r, err
		}
		r.back = append(r.back, time.Since(killed))
		if seen.Job.Restored != nil {
			r.restored = seen.Job.Restored.Path
		}
		if r.restored != r.intended {
			return r, fmt.Errorf("run %s was to start from %q, Flink says %q", run, r.intended, r.restored)
		}
	}
	if _, err := g.someTime(ctx, run); err != nil {
		return r, err
	}
	if err := g.stop(ctx, run); err != nil {
		return r, err
	}
	r.ledger, err = ledger.Check(filepath.Join(g.dir, "ledger"), keys)
	return r, err
}

// start brings up the next run, checks its program, hands in its job, and
// returns when all tasks run.
func (g *ground) start(ctx context.Context, from string) (flink.Run, flink.REST, error) {
	run := flink.Run{UID: g.uid, Term: 1, Run: int32(len(g.runs) + 1)}
	g.runs = append(g.runs, run)
	fail := func(what string, err error) (flink.Run, flink.REST, error) {
		return run, flink.REST{}, fmt.Errorf("run %s: %s: %w", run, what, err)
	}
	if err := g.runtime.Ensure(ctx, flink.Launch{Run: run, Tenant: "default", Name: "ledger", Spec: g.spec}); err != nil {
		return fail("bring up", err)
	}
	_, err := g.await(ctx, run, "", func(r flink.REST) (bool, error) {
		return r.JobsListed && r.SlotsTotal >= g.spec.Parallelism, nil
	})
	if err != nil {
		return fail("warm up", err)
	}
	at, err := g.endpoint(ctx, run)
	if err != nil {
		return fail("warm up", err)
	}
	program := flink.ProgramOf(g.spec)
	if err := g.rest.Plan(ctx, at, program); err != nil {
		return fail("check the program", err)
	}
	submission := flink.Submission{Program: program, JobID: run.JobID(), SnapshotPath: from}
	if err := g.rest.Submit(ctx, at, submission); err != nil {
		return fail("hand in the job", err)
	}
	seen, err := g.await(ctx, run, "", func(r flink.REST) (bool, error) {
		if r.Job != nil && flink.JobTerminal(r.Job.State) {
			return false, fmt.Errorf("the job is %s: %s", r.Job.State, r.Job.Cause.String())
		}
		// The restored path comes from a cache that may lag behind the state.
		return r.Job != nil && r.Job.AllRunning() && (from == "" || r.Job.Restored != nil), nil
	})
	if err != nil {
		return fail("wait until all tasks run", err)
	}
	return run, seen, nil
}

// await asks the run's JobManager until ok says yes.
func (g *ground) await(ctx context.Context, run flink.Run, trigger string, ok func(flink.REST) (bool, error)) (flink.REST, error) {
	tick := time.NewTicker(perAnswer)
	defer tick.Stop()
	var last flink.REST
	for {
		at, err := g.endpoint(ctx, run)
		if err != nil {
			return flink.REST{}, err
		}
		last = g.rest.Observe(ctx, at, flink.RESTQuery{JobID: run.JobID(), TriggerID: trigger})
		if yes, err := ok(last); yes || err != nil {
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("%w; last seen: slots %d, job %s, %q", context.Cause(ctx), last.SlotsTotal, describe(last.Job), last.Err)
		case <-tick.C:
		}
	}
}

func describe(j *flink.JobObserved) string {
	if j == nil {
		return "none"
	}
	return fmt.Sprintf("%s %d/%d", j.State, j.TasksRunning, j.TasksTotal)
}

// endpoint is where the run's JobManager listens; an ended one is an error.
func (g *ground) endpoint(ctx context.Context, run flink.Run) (string, error) {
	observed, _, err := g.runtime.Observe(ctx, run.UID)
	if err != nil {
		return "", err
	}
	for _, o := range observed {
		if o.Run != run {
			continue
		}
		if p := o.JobManager; p.State == flink.ProcessExited {
			return "", fmt.Errorf("the JobManager ended, exit %d: %s", p.ExitCode, p.Reason)
		}
		return o.Endpoint, nil
	}
	return "", errors.New("no trace of it")
}

// someTime waits for a first checkpoint and then for a random part of three
// intervals; it returns the newest checkpoint that REST told of.
func (g *ground) someTime(ctx context.Context, run flink.Run) (flink.Snapshot, error) {
	r, err := g.await(ctx, run, "", func(r flink.REST) (bool, error) { return r.Job != nil && r.Job.Completed > 0, nil })
	if err != nil {
		return flink.Snapshot{}, fmt.Errorf("run %s: wait for a checkpoint: %w", run, err)
	}
	end := time.After(time.Duration(g.random.Int64N(int64(3 * g.spec.CheckpointInterval()))))
	select {
	case <-ctx.Done():
		return flink.Snapshot{}, context.Cause(ctx)
	case <-end:
		return r.Job.Latest, nil
	}
}

// lose kills the whole cluster of a run, waits until the kernel knows none of its
// processes, and reads what it left.
func (g *ground) lose(ctx context.Context, run flink.Run) (flink.Snapshot, error) {
	n, err := killJVMs(run)
	if err != nil {
		return flink.Snapshot{}, err
	}
	if want := 1 + int(g.spec.TaskManagers()); n != want {
		return flink.Snapshot{}, fmt.Errorf("run %s: killed %d JVMs, it should have had %d", run, n, want)
	}
	if err := awaitGone(ctx, run.Name()); err != nil {
		return flink.Snapshot{}, err
	}
	if err := g.runtime.End(ctx, run); err != nil {
		return flink.Snapshot{}, err
	}
	dirs := config.Dirs(g.stateRoot, "default", run)
	s, err := g.snapshots.Newest(ctx, run, dirs.Checkpoints)
	if err == nil && s.IsZero() {
		err = fmt.Errorf("run %s left no checkpoint in %s", run, dirs.Checkpoints)
	}
	return s, err
}

// stop takes the job down with a savepoint, and its cluster after that.
func (g *ground) stop(ctx context.Context, run flink.Run) error {
	at, err := g.endpoint(ctx, run)
	if err != nil {
		return err
	}
	trigger := run.TriggerID("stop", 1)
	dir := config.Dirs(g.stateRoot, "default", run).Savepoints
	if err := g.rest.Stop(ctx, at, run.JobID(), trigger, dir); err != nil {
		return fmt.Errorf("run %s: %w", run, err)
	}
	seen, err := g.await(ctx, run, trigger, func(r flink.REST) (bool, error) {
		if r.Trigger != nil && r.Trigger.Failure != nil {
			return false, fmt.Errorf("the savepoint failed: %s", r.Trigger.Failure)
		}
		return r.Trigger != nil && r.Trigger.Completed && r.Job != nil && r.Job.State == flink.JobFinished, nil
	})
	if err != nil {
		return fmt.Errorf("run %s: stop with a savepoint: %w", run, err)
	}
	if there, err := g.snapshots.Exists(ctx, seen.Trigger.Location); err != nil || !there {
		return fmt.Errorf("run %s: no savepoint at %q: %w", run, seen.Trigger.Location, err)
	}
	if err := g.runtime.End(ctx, run); err != nil {
		return err
	}
	left, err := marked(run.Name())
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("run %s has ended and %d processes are left", run, len(left))
	}
	return err
}

// clean leaves no process, however the story went.
func (g *ground) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	for _, run := range g.runs {
		err = errors.Join(err, g.runtime.End(ctx, run))
	}
	return errors.Join(err, g.log.Close())
}

// tidy leaves the logs alone.
func (g *ground) tidy() error {
	return errors.Join(os.RemoveAll(g.stateRoot), os.RemoveAll(filepath.Join(g.dir, "ledger")))
}
