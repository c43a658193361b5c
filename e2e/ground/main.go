package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

func main() {
	versions := flag.String("versions", strings.Join(flinkdist.Versions(), ","), "Flink versions, oldest first")
	artifacts := flag.String("artifacts", "artifacts", "where logs are kept")
	rounds := flag.Int("rounds", 2, "how often the cluster is killed")
	seed := flag.Uint64("seed", 0, "of the moments of the kills; 0: a new one")
	limit := flag.Duration("timeout", 6*time.Minute, "for one version, once Flink is there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *seed == 0 {
		*seed = newSeed()
	}
	o := options{artifacts: *artifacts, rounds: *rounds, seed: *seed, limit: *limit}
	if err := run(ctx, strings.Split(*versions, ","), o); err != nil {
		fmt.Fprintln(os.Stderr, "ground:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	artifacts string
	rounds    int
	seed      uint64
	limit     time.Duration
}

func newSeed() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// run does all versions, also after one has failed. The job is built once,
// against the first.
func run(ctx context.Context, versions []string, o options) error {
	jdk, err := flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
	if err != nil {
		return err
	}
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	var dists []flinkdist.Dist
	for _, v := range versions {
		d, err := flinkdist.Fetch(ctx, flinkdist.Options{Version: v, Progress: say})
		if err != nil {
			return err
		}
		dists = append(dists, d)
	}
	jar, err := ledger.Build(ctx, ledger.Options{FlinkLib: dists[0].Lib, Javac: jdk.Javac})
	if err != nil {
		return err
	}
	failed := 0
	for _, d := range dists {
		dir, err := filepath.Abs(filepath.Join(o.artifacts, "ground", d.Version))
		if err != nil {
			return err
		}
		if err := version(ctx, d, jdk.Java, jar, dir, o); err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "ground version=%s seed=%d failed: %v\n  logs: %s\n", d.Version, o.seed, err, dir)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d versions failed", failed, len(dists))
	}
	return nil
}

// version tries one version and prints its line.
func version(ctx context.Context, d flinkdist.Dist, java, jar, dir string, o options) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %s", o.limit))
	defer cancel()
	g, err := newGround(d, java, jar, dir, o)
	if err != nil {
		return err
	}
	defer func() {
		if left := g.clean(); left != nil && err == nil {
			err = left
		}
	}()
	r, err := g.rounds(ctx, o.rounds)
	if err != nil {
		return err
	}
	fmt.Printf("ground version=%s rounds=%d seed=%d %s\n", r.flink, o.rounds, o.seed, r)
	if err := r.ledger.Err(); err != nil {
		return err
	}
	return g.tidy()
}
