package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// grace is how long a command may tidy up after SIGTERM.
const grace = 30 * time.Second

// step is one thing to do; its output goes to out and its error is its failure.
type step struct {
	name     string
	deadline time.Duration
	do       func(ctx context.Context, out io.Writer) error
}

// result is how a step went; the zero took is a step that was not reached.
type result struct {
	name    string
	reached bool
	took    time.Duration
	err     error
}

type runner struct {
	out         io.Writer
	dir         string // for the log files
	stopAtFirst bool
}

// run does the steps in order and returns one result for each; the error names those that failed.
func (r runner) run(ctx context.Context, steps []step) ([]result, error) {
	if err := os.MkdirAll(r.dir, 0o750); err != nil {
		return nil, fmt.Errorf("making room for the logs: %w", err)
	}
	results := make([]result, len(steps))
	var failed error
	for i, s := range steps {
		results[i].name = s.name
		if ctx.Err() != nil || failed != nil && r.stopAtFirst {
			continue
		}
		results[i] = r.one(ctx, s)
		if err := results[i].err; err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	if failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}

	return results, failed
}

func (r runner) one(ctx context.Context, s step) result {
	began := time.Now()
	fmt.Fprintf(r.out, "\nstep name=%s deadline=%s\n", s.name, s.deadline)
	err := r.logged(ctx, s)
	took := time.Since(began)
	fmt.Fprintf(r.out, "step name=%s ok=%t s=%.1f\n", s.name, err == nil, took.Seconds())

	return result{name: s.name, reached: true, took: took, err: err}
}

// logged does the step with its output doubled into a file.
func (r runner) logged(ctx context.Context, s step) (err error) {
	log, err := os.Create(filepath.Join(r.dir, s.name+".log"))
	if err != nil {
		return fmt.Errorf("making the log file: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, s.deadline, fmt.Errorf("not done within %s", s.deadline))
	defer cancel()
	out := io.MultiWriter(r.out, log)
	err = s.do(ctx, out)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	if err != nil {
		fmt.Fprintln(out, err)
	}

	return err
}

// command is a step that runs a program. At the deadline its whole process group is asked to end, later killed.
func command(args ...string) func(context.Context, io.Writer) error { return in(".", args...) }

// in is command in a directory.
func in(dir string, args ...string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, out io.Writer) error {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Env = environment(os.Environ())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.WaitDelay = grace
		err := cmd.Run()
		if ctx.Err() != nil && cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group, if anything
		}
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}

		return nil
	}
}

// seed is where property tests begin, so that what passed once passes again. `make explore` takes random ones.
const seed = "RAPID_SEED=20261124"

// environment adds the seed, unless the caller has one.
func environment(env []string) []string {
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "RAPID_SEED=") }) {
		return env
	}

	return append(env, seed)
}

// table says where the time went.
func table(w io.Writer, results []result) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var sum time.Duration
	for _, r := range results {
		sum += r.took
		switch {
		case !r.reached:
			fmt.Fprintf(tw, "%s\t-\tnot reached\t\n", r.name)
		case r.err != nil:
			fmt.Fprintf(tw, "%s\t%.1f s\tFAILED\t\n", r.name, r.took.Seconds())
		default:
			fmt.Fprintf(tw, "%s\t%.1f s\tok\t\n", r.name, r.took.Seconds())
		}
	}
	fmt.Fprintf(tw, "total\t%.1f s\t\t\n", sum.Seconds())
	_ = tw.Flush() // standard output is all there is to tell it to
}
