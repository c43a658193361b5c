// Command demo shows Waterwheel to a newcomer: it fetches real Flink, starts a
// hub and two agents, runs a job, and walks through what may happen to it. It
// leaves the world up; `make demo-down` ends it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

func main() {
	dir := flag.String("dir", "", "directory of the world; default: that of `waterwheel dev`")
	bin := flag.String("bin", "bin", "directory of the binaries")
	cut := flag.Duration("cut", 20*time.Second, "how long the hub is cut off")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if err := run(ctx, *dir, *bin, *cut); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// guide is one tour.
type guide struct {
	w       *stage.World
	cut     time.Duration
	started time.Time
}

// say tells what comes next.
func (g *guide) say(what string) {
	fmt.Printf("\n\033[1m%5.1fs  %s\033[0m\n", time.Since(g.started).Seconds(), what)
}

func run(ctx context.Context, dir, bin string, cut time.Duration) error {
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(home, ".local", "share", "waterwheel", "dev")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	g := &guide{w: &stage.World{Dir: dir, Bin: bin, Log: io.Discard}, cut: cut, started: time.Now()}
	g.say("Real Flink, a JDK, and the example job")
	fetch, build, err := g.prepare(ctx)
	if err != nil {
		return err
	}
	g.say("A hub and two agents, each joined with a one-time token, each with its own mTLS stream")
	up := time.Now()
	if err := g.show(ctx, "dev", "up", "--clusters", "2", "--dir", dir); err != nil {
		return err
	}
	if err := g.show(ctx, "get", "clusters"); err != nil {
		return err
	}
	j, f, err := g.first(ctx)
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "demo", "clusters", 2, "job", j.Status.State, "tasks", fmt.Sprintf("%d/%d", f.Running, f.Total),
		"checkpoints", f.Completed, "flink", f.Version, "fetch_s", fetch, "build_s", build, "start_s", time.Since(up), "total_s", time.Since(g.started))
	if err := g.tour(ctx, j); err != nil {
		return err
	}
	g.farewell()
	return nil
}

// prepare gets everything that is not built here.
func (g *guide) prepare(ctx context.Context) (fetch, build time.Duration, err error) {
	say := func(line string) { fmt.Println("       ", line) }
	began := time.Now()
	jdk, err := flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
	if err != nil && flinkdist.CanInstall() {
		if err := flinkdist.InstallJDK(ctx, say); err != nil {
			return 0, 0, err
		}
		jdk, err = flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
	}
	if err != nil {
		return 0, 0, err
	}
	lib := ""
	for _, v := range flinkdist.Versions() {
		d, err := flinkdist.Fetch(ctx, flinkdist.Options{Version: v, Progress: say})
		if err != nil {
			return 0, 0, err
		}
		if lib == "" {
			lib = d.Lib
		}
	}
	fetch = time.Since(began)
	began = time.Now()
	_, err = ledger.Build(ctx, ledger.Options{FlinkLib: lib, Javac: jdk.Javac})
	return fetch, time.Since(began), err
}

// show types a command before the reader's eyes.
func (g *guide) show(ctx context.Context, args ...string) error {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if strings.ContainsAny(a, " \"") {
			words[i] = "'" + a + "'"
		}
	}
	fmt.Printf("        $ waterwheel %s\n", strings.Join(words, " "))
	out, err := g.w.CLI(ctx, "", args...)
	for line := range strings.Lines(out) {
		fmt.Print("          ", line)
	}
	return err
}

// first declares the example job and waits until Flink says that it runs and has checkpoints.
func (g *guide) first(ctx context.Context) (stage.Job, stage.FlinkJob, error) {
	g.say("A job is declared at the hub; the agent of dev-1 makes it run on real Flink")
	if err := g.show(ctx, "apply", "-f", "docs/examples/ledger.yaml", "--wait", "--timeout", "4m"); err != nil {
		return stage.Job{}, stage.FlinkJob{}, err
	}
	j, err := g.ready(ctx, 0)
	if err != nil {
		return j, stage.FlinkJob{}, err
	}
	var f stage.FlinkJob
	err = stage.Poll(ctx, 2*time.Minute, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		f, err = stage.Flink(ctx, j.Status.Links.FlinkUI)
		return err == nil && f.AllRunning() && f.Completed > 0, err
	})
	return j, f, err
}

func (g *guide) ready(ctx context.Context, after int32) (stage.Job, error) {
	return g.w.WaitJob(ctx, name, "Ready", 4*time.Minute, func(j stage.Job) bool {
		return j.Status.Ready() && j.Metadata.Generation > after && j.Status.Freshness == "live"
	})
}

func (g *guide) farewell() {
	ctx := "export WATERWHEEL_CONFIG=" + filepath.Join(g.w.Dir, "config.yaml")
	fmt.Printf(`
The world is up. Look around:
  %s
  ./bin/waterwheel get jobs -w
  ./bin/waterwheel describe job %s        status, history, the Flink UI, logs, checkpoints
  ./bin/waterwheel why %s
  ./bin/waterwheel dev status
  docs/examples/                             more jobs to apply
End it with: make demo-down
`, ctx, name, name)
}
