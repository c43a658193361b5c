package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/lease"
	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/agent/render"
)

const (
	// downLimit is for all that a cluster is asked to remove, so that what does not go is named before a Job's own
	// deadline ends it without a word.
	downLimit = 5 * time.Minute
	// downLeave is for how long no replica of an agent that was ended begins again: whoever ended it removes them meanwhile.
	downLeave = 10 * time.Minute
)

// EndRuns ends every run of an agent; their state stays. On a host the agent does not run, and starts the jobs again from
// their state. In a cluster the agent may run: it is ended for good, with all it has there. out gets what was ended.
func EndRuns(ctx context.Context, cfg Config, out io.Writer) error {
	if cfg.Runtime.Kind == kindKubernetes {
		return endInCluster(ctx, cfg, out)
	}
	rt, err := process.New(process.Config{
		Dir: cfg.Dir, Dists: cfg.Runtime.Flink, UsrLib: cfg.Runtime.UsrLib, StateRoot: cfg.StateStorage.Root,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	return rt.EndAll(ctx)
}

// ending is an agent in a cluster that goes for good.
type ending struct {
	out     io.Writer
	limit   time.Duration // for all that is removed
	lease   lease.Config
	runtime *kube.Runtime
	own     store.Belongings
}

func endInCluster(ctx context.Context, cfg Config, out io.Writer) error {
	e, err := newEnding(cfg, out)
	if err != nil {
		return err
	}
	return e.run(ctx)
}

func newEnding(cfg Config, out io.Writer) (*ending, error) {
	k := cfg.Runtime.Kubernetes
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname() // in a pod, its name
	if err != nil {
		return nil, fmt.Errorf("name this process: %w", err)
	}
	tenants, err := k.places(cfg.StateStorage.Root, selector())
	if err != nil {
		return nil, err
	}
	keeper, err := store.NewSecret(api, k.Namespace, k.Secrets.Identity)
	if err != nil {
		return nil, err
	}
	cluster, err := enrol.Joined(keeper)
	if err != nil {
		return nil, err
	}
	rt, err := kube.New(kube.Config{
		API: api, Namespace: k.Namespace, Keys: k.Secrets.Keys, Tenants: tenants,
		Cluster: func() string { return cluster },
	})
	if err != nil {
		return nil, err
	}
	return &ending{
		out: out, limit: downLimit, runtime: rt,
		lease: lease.Config{
			API: api, Namespace: k.Namespace, Name: k.Election.Lease, Identity: host,
			Duration: k.Election.Duration, RenewDeadline: k.Election.RenewDeadline, RetryPeriod: k.Election.RetryPeriod,
		},
		own: store.Belongings{
			API: api, Namespace: k.Namespace, ConfigMap: k.Records,
			Secrets: []string{k.Secrets.Join, k.Secrets.Keys, k.Secrets.Identity},
		},
	}, nil
}

// run removes everything. The Lease is not given up, since a replica that waits for it would begin again at once; nor is
// it deleted, since it would make another. It goes with the chart, which deletes it after the replicas and their rights.
func (e *ending) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { _ = e.runtime.Run(ctx, func(string) {}) }) // ends with ctx alone
	defer func() { cancel(); watching.Wait() }()
	nothing, err := e.nothing(ctx)
	if err != nil {
		return err
	}
	if nothing {
		fmt.Fprintf(e.out, "no agent is installed in namespace %s, and nothing of one is left\n", e.own.Namespace)
		return e.done(kube.Removed{})
	}
	seized, err := lease.Seize(ctx, e.lease)
	if err != nil {
		return err
	}
	switch {
	case seized.Holder == "" && seized.Wait > 0:
		fmt.Fprintf(e.out, "made Lease %s, which was missing; waiting %s until no agent acts without it\n", e.lease.Name, seized.Wait)
	case seized.Wait > 0:
		fmt.Fprintf(e.out, "took Lease %s from %s; waiting %s until it has stopped\n", e.lease.Name, seized.Holder, seized.Wait)
	default:
		fmt.Fprintf(e.out, "took Lease %s; nobody acts\n", e.lease.Name)
	}
	var removed kube.Removed
	if err := seized.Hold(ctx, downLeave, func(ctx context.Context) error {
		var err error
		removed, err = e.remove(ctx)
		return err
	}); err != nil {
		return err
	}
	return e.done(removed)
}

// nothing reports whether there is no trace of an agent. A Lease alone is one: its replicas may be about to begin.
func (e *ending) nothing(ctx context.Context) (bool, error) {
	exists, err := lease.Exists(ctx, e.lease)
	if err != nil || exists {
		return false, err
	}
	left, err := e.own.Left(ctx)
	if err != nil || len(left) > 0 {
		return false, err
	}
	return e.runtime.Empty(ctx)
}

// remove ends all runs, and forgets them after that alone.
func (e *ending) remove(ctx context.Context) (kube.Removed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fmt.Errorf("not within %s", e.limit))
	defer cancel()
	removed, err := e.runtime.EndAll(ctx, func(r kube.Ended) {
		if r.Other != "" {
			fmt.Fprintf(e.out, "left run %s in namespace %s, of job %s, tenant %s: it is of cluster %s at a hub, and this agent is not\n",
				render.Name(r.Run), r.Namespace, r.Name, r.Tenant, r.Other)
			return
		}
		of, newest := "of a job that is not on record", "no checkpoint is on record"
		if r.Name != "" {
			of = fmt.Sprintf("of job %s, tenant %s", r.Name, r.Tenant)
		}
		if r.Newest != "" {
			newest = "newest checkpoint " + r.Newest
		}
		fmt.Fprintf(e.out, "ended run %s in namespace %s, %s; %s\n", render.Name(r.Run), r.Namespace, of, newest)
	})
	if err != nil {
		return removed, fmt.Errorf("the agent's records stay, since not all of its runs are gone: %w", err)
	}
	own, err := e.own.Purge(ctx)
	removed.Objects += own
	if err == nil {
		fmt.Fprintf(e.out, "deleted %d objects of the agent in namespace %s\n", own, e.own.Namespace)
	}
	return removed, err
}

func (e *ending) done(r kube.Removed) error {
	_, err := fmt.Fprintf(e.out, "down runs=%d objects=%d\n", r.Runs, r.Objects)
	return err
}
