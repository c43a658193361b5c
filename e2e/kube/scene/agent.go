package scene

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/waterwheel-io/waterwheel/agent/act"
	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/agent/observe"
	"github.com/waterwheel-io/waterwheel/agent/rbac"
	"github.com/waterwheel-io/waterwheel/agent/reconcile"
	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// Config of an Agent. API, Place and Flink are required.
type Config struct {
	API    *rest.Config
	Place  render.Place
	Flink  reconcile.Flink
	Seen   func(flink.Order, flink.Status) // each status, as the hub would be told; nil: nobody looks
	Done   func(uid string)                // after each pass that leaves nothing to be done at once; nil: nobody looks
	Logger *slog.Logger                    // default: none
}

// Agent is the agent's parts that look after jobs, without its session with the hub.
type Agent struct {
	store     *store.Store
	runtime   *kube.Runtime
	reconcile *reconcile.Reconciler
}

// NewAgent reads the records and puts the parts together as the agent does.
func NewAgent(ctx context.Context, cfg Config) (*Agent, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	kept, err := store.Open(ctx, store.Options{
		API: cfg.API, Namespace: Own, ConfigMap: rbac.RecordsMap, Decode: decode, Readable: wire.SpecJSON, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	rt, err := kube.New(kube.Config{
		API: cfg.API, Namespace: Own, Keys: rbac.KeysSecret, Tenants: map[string]render.Place{Tenant: cfg.Place}, Logger: cfg.Logger,
		TenantOf: func(uid string) (string, bool) {
			rec, ok, err := kept.Load(ctx, uid)
			return rec.Order.Tenant, err == nil && ok && rec.Order.Tenant != ""
		},
	})
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	a := &Agent{store: kept, runtime: rt}
	look := observe.New(rt, cfg.Flink, rt.Snapshots()).Observe
	a.reconcile = reconcile.New(reconcile.Config{
		Store: jobs{kept.Store},
		Observe: func(ctx context.Context, o flink.Order, m plan.Memory) (flink.Observed, error) {
			seen, err := look(ctx, o, m)
			seen.Hold = kept.Holds(o.UID)
			return seen, err
		},
		Act: act.New(rt, cfg.Flink).Do, Collect: collect(rt.Collect, cfg.Done),
		Report: func(_ context.Context, o flink.Order, st flink.Status) error {
			if cfg.Seen != nil {
				cfg.Seen(o, st)
			}
			return nil
		},
		Show: kept.PutStatus, Left: func(string) {}, StateRoot: func(string) string { return cfg.Place.StateRoot },
		Metrics: telemetry.NewAgent(prometheus.NewRegistry()), Logger: cfg.Logger,
	})
	return a, nil
}

// collect calls done after each collecting that went well.
func collect(f func(context.Context, string, []flink.Run) error, done func(string)) func(context.Context, string, []flink.Run) error {
	if done == nil {
		return f
	}
	return func(ctx context.Context, uid string, keep []flink.Run) error {
		err := f(ctx, uid, keep)
		if err == nil {
			done(uid)
		}
		return err
	}
}

// decode reads and validates the body of an order, as the agent does.
func decode(body []byte) (flink.Order, error) {
	o, err := wire.OrderFromBytes(body)
	if err != nil {
		return flink.Order{}, err
	}
	if faults := flink.Validate(o.Tenant, o.Name, o.Labels, o.Spec); len(faults) > 0 {
		return flink.Order{}, fmt.Errorf("%s", faults[0])
	}
	return o, nil
}

// Run looks after the jobs until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	return run.Tasks(ctx,
		run.Task{Name: "reconcile", Run: a.reconcile.Run},
		run.Task{Name: "runtime", Run: func(ctx context.Context) error { return a.runtime.Run(ctx, a.reconcile.Wake) }},
		run.Task{Name: "records", Run: func(ctx context.Context) error { return a.store.Run(ctx, a.reconcile.Wake) }},
	)
}

// Ready waits until the watches are up.
func (a *Agent) Ready(ctx context.Context) error {
	return Until(ctx, knownLimit, func(ctx context.Context) error {
		_, _, err := a.runtime.Observe(ctx, "none")
		return err
	})
}

// Record takes orders as the session does: frame by frame, each on record before its jobs are looked at.
func (a *Agent) Record(ctx context.Context, orders []flink.Order) error {
	all, err := frames(orders)
	if err != nil {
		return err
	}
	for _, f := range all {
		got, err := a.store.Record(ctx, f)
		switch {
		case err != nil:
			return fmt.Errorf("record orders: %w", err)
		case len(got.Nacks) > 0:
			return fmt.Errorf("record orders: %d refused, the first: %s", len(got.Nacks), got.Nacks[0].Text)
		}
		for _, uid := range got.Changed {
			a.reconcile.Wake(uid)
		}
	}
	return nil
}

// Close releases the records.
func (a *Agent) Close() error { return a.store.Close() }

// jobs are the records as reconcile's port.
type jobs struct{ *records.Store }

// Load implements reconcile.Store.
func (j jobs) Load(ctx context.Context, uid string) (reconcile.Record, bool, error) {
	rec, ok, err := j.Store.Load(ctx, uid)
	return reconcile.Record(rec), ok, err
}
