package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

func main() {
	versions := flag.String("version", strings.Join(flinkdist.Versions(), ","), "Flink versions, oldest first")
	install := flag.Bool("install", false, "install a JDK and pip where they are missing (root, apt-get)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*versions, ","), *install); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, versions []string, install bool) error {
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	jdk, err := findJDK(ctx, say, install)
	if err != nil {
		return err
	}
	fmt.Printf("java version=%d home=%s\n", jdk.Version, jdk.Home)
	oldest := ""
	for _, v := range versions {
		began := time.Now()
		d, err := fetch(ctx, flinkdist.Options{Version: v, Progress: say}, install)
		if err != nil {
			return err
		}
		if oldest == "" {
			oldest = d.Lib
		}
		fmt.Printf("flink version=%s home=%s fetch_s=%.1f cached=%t\n", d.Version, d.Home, time.Since(began).Seconds(), d.Cached)
	}
	began := time.Now()
	jar, err := ledger.Build(ctx, ledger.Options{FlinkLib: oldest, Javac: jdk.Javac})
	if err != nil {
		return err
	}
	fmt.Printf("ledger jar=%s class=%s build_s=%.1f\n", jar, ledger.MainClass, time.Since(began).Seconds())
	return nil
}

func findJDK(ctx context.Context, say func(string), install bool) (flinkdist.JDK, error) {
	if install {
		return flinkdist.FindOrInstallJDK(ctx, flinkdist.Compiler, say)
	}
	return flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
}

func fetch(ctx context.Context, opts flinkdist.Options, install bool) (flinkdist.Dist, error) {
	if install {
		return flinkdist.FetchOrInstall(ctx, opts)
	}
	return flinkdist.Fetch(ctx, opts)
}
