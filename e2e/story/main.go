// Command story drives a whole `waterwheel dev` world on real Flink through the
// life of its jobs: changed, suspended, cut off from the hub, killed in parts,
// refused, finished, deleted. One line a step with what was seen; exit 1 when a
// limit is passed. Figures come from Flink's REST, the CLI, the kernel and the
// ledger checker.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

func main() {
	var o options
	flag.StringVar(&o.version, "version", "2.3.0", "Flink version")
	flag.BoolVar(&o.short, "short", false, "a 20 s cut, one edit of each kind")
	flag.StringVar(&o.artifacts, "artifacts", "artifacts/story", "where logs are kept")
	flag.StringVar(&o.only, "only", "", "run the first chapter and this one")
	flag.DurationVar(&o.deadline, "deadline", 25*time.Minute, "give up after")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.deadline, fmt.Errorf("the story took longer than %s", o.deadline))
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		os.Exit(1)
	}
}

type options struct {
	version, artifacts, only string
	short                    bool
	deadline                 time.Duration
}

func (o options) cut() time.Duration {
	if o.short {
		return 20 * time.Second
	}
	return 60 * time.Second
}

func (o options) edits() int {
	if o.short {
		return 1
	}
	return 3
}

// teller is one telling of the story.
type teller struct {
	o     options
	w     *stage.World
	minor string // Flink version as manifests name it
	out   string // directory of the ledger's lines
	jar   string
	job   stage.Job // clicks, as last seen Ready
}

func run(ctx context.Context, o options) (err error) {
	t, done, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	chapters := []struct {
		name string
		tell func(context.Context) error
	}{
		{"running", t.running},
		{"changed", t.changed},
		{"suspended", t.suspended},
		{"cut", t.cut},
		{"agent-down", t.agentDown},
		{"other-cluster", t.otherCluster},
		{"finished", t.finished},
		{"impossible", t.impossible},
		{"refused-edits", t.refusedEdits},
		{"deleted", t.deleted},
	}
	for i, c := range chapters {
		if o.only != "" && i > 0 && c.name != o.only {
			continue
		}
		if err := c.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w (logs: %s)", c.name, err, o.artifacts)
		}
	}
	return nil
}

// begin sets up the world in a directory of its own. done tears it down and keeps its logs.
func begin(ctx context.Context, o options) (*teller, func() error, error) {
	art, err := filepath.Abs(filepath.Join(o.artifacts, o.version))
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(os.RemoveAll(art), os.MkdirAll(art, 0o755)); err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(art, "story.log"))
	if err != nil {
		return nil, nil, err
	}
	minor, err := stage.Minor(o.version)
	if err != nil {
		return nil, nil, err
	}
	jar, err := ledgerJar(ctx)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "waterwheel-story-")
	if err != nil {
		return nil, nil, err
	}
	t := &teller{o: o, minor: minor, jar: jar, out: filepath.Join(dir, "ledger"), w: &stage.World{
		Dir: filepath.Join(dir, "world"), Bin: filepath.Join(dir, "bin"), Log: io.Writer(log),
	}}
	done := func() error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		stage.Keep(t.w.Dir, art)
		_, err := t.w.Dev(end, "down", "--purge")
		left := stage.Left(t.w.Dir)
		stage.Line(os.Stdout, "down", "processes", len(left))
		if len(left) > 0 {
			err = errors.Join(err, fmt.Errorf("processes %v are left", left))
		}
		return errors.Join(err, log.Close(), os.RemoveAll(dir))
	}
	if err := stage.Build(ctx, t.w.Bin); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	if _, err := t.w.Dev(ctx, "up", "--clusters", "2", "--flink", t.minor); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return t, done, nil
}

// ledgerJar builds the job against the oldest Flink, whose jars run on the newer ones.
func ledgerJar(ctx context.Context) (string, error) {
	oldest, err := flinkdist.Fetch(ctx, flinkdist.Options{Version: flinkdist.Versions()[0]})
	if err != nil {
		return "", err
	}
	return ledger.Build(ctx, ledger.Options{FlinkLib: oldest.Lib})
}
