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
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
	"github.com/waterwheel-io/waterwheel/internal/dev"
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
	line := fmt.Sprintf("%5.1fs  %s", time.Since(g.started).Seconds(), what)
	if st, err := os.Stdout.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
		line = "\033[1m" + line + "\033[0m"
	}
	fmt.Println("\n" + line)
}

func run(ctx context.Context, dir, bin string, cut time.Duration) error {
	if dir == "" {
		var err error
		if dir, err = dev.DefaultDir(os.Getenv); err != nil {
			return err
		}
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
	if err := g.show(ctx, "dev", "up", "--clusters", "2"); err != nil {
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
	g.farewell(ctx)
	return nil
}

// prepare gets everything that is not built here.
func (g *guide) prepare(ctx context.Context) (fetch, build time.Duration, err error) {
	say := func(line string) { fmt.Println("       ", line) }
	began := time.Now()
	jdk, err := flinkdist.FindOrInstallJDK(ctx, flinkdist.Compiler, say)
	if err != nil {
		return 0, 0, err
	}
	say(fmt.Sprintf("Java %d: %s", jdk.Version, jdk.Java))
	lib := ""
	for _, v := range flinkdist.Versions() {
		d, err := flinkdist.FetchOrInstall(ctx, flinkdist.Options{Version: v, Progress: say})
		if err != nil {
			return 0, 0, err
		}
		say(fmt.Sprintf("Flink %s: %s", d.Version, d.Home))
		if lib == "" {
			lib = d.Lib
		}
	}
	fetch = time.Since(began)
	began = time.Now()
	jar, err := ledger.Build(ctx, ledger.Options{FlinkLib: lib, Javac: jdk.Javac})
	if err != nil {
		return 0, 0, err
	}
	say("Job: " + jar)
	if err := stage.Build(ctx, g.w.Bin); err != nil {
		return 0, 0, err
	}
	say("Binaries: " + g.w.Bin)
	return fetch, time.Since(began), nil
}

// show types a command before the reader's eyes.
func (g *guide) show(ctx context.Context, args ...string) error {
	if home, err := dev.DefaultDir(os.Getenv); args[0] == "dev" && (err != nil || home != g.w.Dir) {
		args = append(args, "--dir", g.w.Dir)
	}
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
		return j.Status.Ready() && j.Metadata.Generation > after && j.Status.ObservedGeneration == j.Metadata.Generation &&
			j.Status.Situation == "InSync" && j.Status.Freshness == "live"
	})
}

func (g *guide) farewell(ctx context.Context) {
	fmt.Print("\nThe world is up. Look around:\n")
	c := exec.CommandContext(ctx, filepath.Join(g.w.Bin, "waterwheel"), "config", "current-context") // as its user would call it
	if now, err := c.Output(); err != nil || strings.TrimSpace(string(now)) != "waterwheel-dev" {
		fmt.Printf("  export WATERWHEEL_CONFIG=%s\n", filepath.Join(g.w.Dir, "config.yaml"))
	}
	fmt.Printf(`  ./bin/waterwheel get jobs -w
  ./bin/waterwheel describe job %[1]s        status, history, the Flink UI, logs, checkpoints
  ./bin/waterwheel why %[1]s
  ./bin/waterwheel dev status
  ./bin/waterwheel apply -f docs/examples    two more jobs
End it with: make demo-down
`, name)
}
