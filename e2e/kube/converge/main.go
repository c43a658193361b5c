package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	n := flag.Int("n", 1000, "orders")
	short := flag.Bool("short", false, "100 orders")
	limit := flag.Duration("timeout", 15*time.Minute, "for everything")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of the agent's part")
	flag.Parse()
	if *short {
		*n = 100
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not done after %s", *limit))
	r, err := measure(ctx, *n, *profile)
	cancel()
	stop()
	if r.raw > 0 {
		fmt.Println(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "converge:", err)
		os.Exit(1)
	}
}

// profiled calls f, with a CPU profile of it in a file if one is named.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
