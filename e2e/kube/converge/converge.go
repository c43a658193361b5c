package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// abreast is how many passes the reconciler has under way at once, and so how many requests the raw loop has.
const abreast = 32

// beside is how many objects the agent makes for itself, once: where it is in the hub's stream, and the secret of its keys.
const beside = 2

// shownLimit is for the last statuses to be shown, once every job is in sync.
const shownLimit = 2 * time.Minute

// result is what was measured.
type result struct {
	n       int
	objects int // that the agent made
	agent   time.Duration
	raw     int // objects that the raw loop made
	rawTook time.Duration
	cpu     time.Duration // of everything, while the agent worked
	rawCPU  time.Duration
	asked   scene.Tally // of the agent, to its end
}

func (r result) perSecond() float64    { return float64(r.objects) / r.agent.Seconds() }
func (r result) rawPerSecond() float64 { return float64(r.raw) / r.rawTook.Seconds() }

// String is the program's line.
func (r result) String() string {
	return fmt.Sprintf("converge n=%d objects=%d seconds=%.2f objects_per_s=%.1f raw_seconds=%.2f raw_objects_per_s=%.1f ratio=%.2f"+
		" cpu_s=%.1f raw_cpu_s=%.1f cpu_ratio=%.2f requests_per_object=%.2f failed=%d by=%s abreast=%d jobs=stateless flink=stand-in",
		r.n, r.objects, r.agent.Seconds(), r.perSecond(), r.rawTook.Seconds(), r.rawPerSecond(), r.perSecond()/r.rawPerSecond(),
		r.cpu.Seconds(), r.rawCPU.Seconds(), r.rawCPU.Seconds()/max(r.cpu.Seconds(), 0.01),
		float64(r.asked.Requests)/float64(max(r.objects, 1)), r.asked.Failed, r.asked.Words(), abreast)
}

// err says what is not as it should be.
func (r result) err() error {
	if r.objects == 0 || r.objects != r.raw || r.objects != r.asked.Created-beside {
		return fmt.Errorf("the agent made %d objects, and those of its orders are %d; the raw loop made %d of the same",
			r.asked.Created-beside, r.objects, r.raw)
	}
	return nil
}

func measure(ctx context.Context, n int, profile string) (r result, err error) {
	c, err := scene.NewCluster(ctx, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	orders := scene.Orders(n, flink.UpgradeStateless)
	r.n = n
	from := time.Now()
	if err := profiled(profile, func() error { r.agent, r.cpu, err = converge(ctx, c, orders); return err }); err != nil {
		return r, err
	}
	if r.asked, err = c.Audit(scene.AgentUser, from, time.Now()); err != nil {
		return r, err
	}
	objects, err := made(ctx, c, orders)
	if err != nil {
		return r, err
	}
	r.objects = count(objects)
	spent, err := scene.Spent()
	if err != nil {
		return r, err
	}
	start := time.Now()
	if r.raw, err = raw(ctx, c, objects); err != nil {
		return r, err
	}
	r.rawTook = time.Since(start)
	if r.rawCPU, err = scene.Spent(); err != nil {
		return r, err
	}
	r.rawCPU -= spent
	return r, r.err()
}

// converge has an agent take the orders and says how long it took until every job was in sync. It returns when all of
// that is shown, too.
func converge(ctx context.Context, c *scene.Cluster, orders []flink.Order) (took, cpu time.Duration, err error) {
	api, err := c.Agent(ctx)
	if err != nil {
		return 0, 0, err
	}
	done := newArrivals(len(orders))
	a, err := scene.NewAgent(ctx, scene.Config{
		API: api, Place: scene.Place(""), Flink: scene.NewFlink(orders, "", nil),
		Seen: func(o flink.Order, st flink.Status) { done.see(o.UID, st.Situation == string(plan.InSync)) },
		Done: done.settle,
	})
	if err != nil {
		return 0, 0, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, a.Close())
	}()
	if err := a.Ready(ctx); err != nil {
		return 0, 0, err
	}
	if err := scene.Warm(ctx, c); err != nil {
		return 0, 0, err
	}
	before, err := scene.Spent()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := a.Record(ctx, orders); err != nil {
		return 0, 0, err
	}
	select {
	case <-done.all:
	case err := <-ended:
		ended <- err
		return 0, 0, fmt.Errorf("the agent ended: %w", err)
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("%d of %d jobs are not in sync: %w", done.left(), len(orders), context.Cause(ctx))
	}
	took = time.Since(start)
	after, err := scene.Spent()
	if err != nil {
		return 0, 0, err
	}
	return took, after - before, scene.Until(ctx, shownLimit, func(ctx context.Context) error { return shown(ctx, c, len(orders)) })
}

// shown says what people do not see in sync yet.
func shown(ctx context.Context, c *scene.Cluster, want int) error {
	list, err := c.Any.Resource(scene.FlinkJobs()).Namespace(scene.Own).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	n := 0
	for i := range list.Items {
		status, ok := list.Items[i].Object["status"].(map[string]any)
		if ok && status["situation"] == string(plan.InSync) {
			n++
		}
	}
	if n != want {
		return fmt.Errorf("%d of %d jobs are shown in sync", n, want)
	}
	return nil
}

// arrivals waits until each of n jobs was in sync, and nothing was left to be done for it, once.
type arrivals struct {
	all chan struct{} // closed when it is so

	mu      sync.Mutex
	want    int
	in      map[string]bool // as last seen
	arrived map[string]bool
}

func newArrivals(n int) *arrivals {
	return &arrivals{all: make(chan struct{}), want: n, in: map[string]bool{}, arrived: map[string]bool{}}
}

// see takes what was last seen of a job, settle that nothing was left to be done after that.
func (a *arrivals) see(uid string, in bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.in[uid] = in
}

func (a *arrivals) settle(uid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.in[uid] || a.arrived[uid] {
		return
	}
	a.arrived[uid] = true
	if len(a.arrived) == a.want {
		close(a.all)
	}
}

func (a *arrivals) left() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.want - len(a.arrived)
}
