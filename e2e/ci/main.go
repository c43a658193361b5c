// Command ci runs the steps of `make test` and `make check`: one after another, each under a deadline of its own, each
// with its whole output in a file under artifacts/ and its last word in a table at the end that says where the time
// went. It must be started at the top of the repository.
//
//	go run ./e2e/ci [-version 2.3.0] [-artifacts DIR] test | check | STEP…
//
// test stops at the first step that fails, since each stands on the ones before; check and named steps go on and tell all.
// Exit status: 0 all steps passed, 1 one did not, 2 wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	version := flag.String("version", "2.3.0", "Flink version of the story")
	dir := flag.String("artifacts", "artifacts/ci", "directory for one log file per step")
	deadline := flag.Duration("deadline", 80*time.Minute, "for all steps together")
	flag.Parse()
	steps, err := choose(flag.Args(), *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if _, err := os.Stat("go.mod"); err != nil {
		fmt.Fprintln(os.Stderr, "run this at the top of the repository:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *deadline, fmt.Errorf("not done within %s", *deadline))
	defer cancel()
	r := runner{out: os.Stdout, dir: *dir, stopAtFirst: flag.Arg(0) == "test"}
	results, err := r.run(ctx, steps)
	table(os.Stdout, results)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
