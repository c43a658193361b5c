package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	startLimit = 15 * time.Minute // until all jobs are in sync, and for the end
	settle     = 30 * time.Second // between the last job in sync and the first request that counts
	root       = "s3://scene/state"
)

type options struct {
	jobs   int
	window time.Duration
	limit  float64
	renew  time.Duration
}

// result is what was measured.
type result struct {
	options
	asked scene.Tally
	use   scene.Usage // of the agent's process, over the window
}

// shown is the request that writes what people see of a job.
const shown = "update:flinkjobs/status"

// measured is how many requests there were for each job in an hour.
func (r result) measured() float64 { return r.rate(r.asked.Requests) }

func (r result) rate(n int) float64 { return float64(n) / float64(r.jobs) / r.window.Hours() }

// perJobHour is what an agent asks for each job in an hour. A newer checkpoint is shown once in a while that is longer
// than the window, at nearly the same time for all jobs here: what was not seen of that counts all the same.
func (r result) perJobHour() float64 {
	status := r.rate(r.asked.By[shown])
	return r.measured() - status + max(status, 1/store.Lazy.Hours())
}

// String is the program's line.
func (r result) String() string {
	return fmt.Sprintf("idle jobs=%d minutes=%.0f requests_per_job_hour=%.2f limit=%g measured_per_job_hour=%.2f requests=%d failed=%d lists=%d watches=%d by=%s lease_requests_per_h=%.0f"+
		" rss_mb=%.0f cpu_s_per_h=%.1f flink=stand-in",
		r.jobs, r.window.Minutes(), r.perJobHour(), r.limit, r.measured(), r.asked.Requests, r.asked.Failed, r.asked.Lists, r.asked.Watches, r.asked.Words(),
		float64(r.asked.Leases)/r.window.Hours(), float64(r.use.Resident)/(1<<20), r.use.CPU.Seconds()/r.window.Hours())
}

func (r result) err() error {
	if got := r.perJobHour(); got > r.limit {
		return fmt.Errorf("%.2f requests per job and hour, limit %g", got, r.limit)
	}
	if r.asked.Watches+r.asked.Requests+r.asked.Leases == 0 {
		return errors.New("the agent asked for nothing at all: nothing was measured")
	}
	return nil
}

func measure(ctx context.Context, o options) (r result, err error) {
	c, err := scene.NewCluster(ctx, true)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	orders := scene.Orders(o.jobs, flink.UpgradeSavepoint)
	a, err := startAgent(ctx, c, o.jobs)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- play(playing, c, orders, o.renew) }()
	defer func() { stop(); err = errors.Join(err, <-played) }()
	if err := a.inSync(ctx); err != nil {
		return r, err
	}
	fmt.Printf("%d jobs are in sync; requests count from in %s on for %s\n", o.jobs, settle, o.window)
	if err := pause(ctx, settle, played); err != nil {
		return r, err
	}
	r.options = o
	from := time.Now()
	before, err := a.usage()
	if err != nil {
		return r, err
	}
	if err := pause(ctx, o.window, played); err != nil {
		return r, err
	}
	if r.use, err = a.usage(); err != nil {
		return r, err
	}
	r.use.CPU -= before.CPU
	if r.asked, err = c.Audit(scene.AgentUser, from, from.Add(o.window)); err != nil {
		return r, err
	}
	return r, a.stillInSync()
}

// pause waits, unless a stand-in fails meanwhile.
func pause(ctx context.Context, d time.Duration, played chan error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-played:
		played <- nil
		return fmt.Errorf("a stand-in ended: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
