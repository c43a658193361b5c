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
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		if err := agentMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "idle agent:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.jobs, "jobs", 100, "jobs in sync")
	flag.DurationVar(&o.window, "duration", 10*time.Minute, "how long requests are counted")
	flag.Float64Var(&o.limit, "limit", 6, "requests per job and hour")
	flag.DurationVar(&o.renew, "renew", 2*time.Second, "between renewals of each JobManager's lease")
	short := flag.Bool("short", false, "2 minutes")
	flag.Parse()
	if *short {
		o.window = 2 * time.Minute
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	most := o.window + startLimit
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("not done after %s", most))
	r, err := measure(ctx, o)
	cancel()
	stop()
	if err == nil {
		fmt.Println(r)
		err = r.err()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}
