package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/waterwheel-io/waterwheel/agent/act"
	"github.com/waterwheel-io/waterwheel/agent/disk"
	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/observe"
	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/agent/reconcile"
	"github.com/waterwheel-io/waterwheel/agent/session"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// Deps are what an Agent stands on. The zero value is the real world.
type Deps struct {
	Version string
	Logger  *slog.Logger
	Dial    func(ctx context.Context, addr string) (net.Conn, error) // of the hub; nil: TCP
	// Runtime, Flink and Snapshots replace the ports of the configured runtime, all three or none.
	Runtime   reconcile.Runtime
	Flink     reconcile.Flink
	Snapshots reconcile.Snapshots
}

// Agent is one agent. New builds it, Run is called once, Close after it.
type Agent struct {
	cfg       Config
	log       *slog.Logger
	disk      *disk.Store
	enrol     *enrol.Agent
	session   *session.Client
	runtime   reconcile.Runtime
	reconcile *reconcile.Reconciler
	view      *view
	listeners []*telemetry.Server
}

// New opens the agent's records and builds its parts. It touches no network but its own loopback listener.
func New(ctx context.Context, cfg Config, deps Deps) (*Agent, error) {
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the agent's directory: %w", err)
	}
	a := &Agent{cfg: cfg, log: deps.Logger, view: &view{jobs: map[string]seenJob{}}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := place(cfg, &deps, a.log); err != nil {
		return nil, err
	}
	a.runtime = deps.Runtime
	var err error
	a.disk, err = disk.Open(filepath.Join(cfg.Dir, "agent.db"), disk.Options{Create: true, Decode: decode})
	if err != nil {
		return nil, err
	}
	if err := a.wire(ctx, deps); err != nil {
		return nil, fmt.Errorf("%w%s", err, closing(a.disk.Close()))
	}
	return a, nil
}

func closing(err error) string {
	if err == nil {
		return ""
	}
	return "; and closing the store: " + err.Error()
}

// decode reads and validates the body of an order, as the hub did when it took it.
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

// place fills in the ports of the configured runtime.
func place(cfg Config, deps *Deps, log *slog.Logger) error {
	if deps.Runtime != nil {
		return nil
	}
	var memory int64
	if cfg.Capacity.Memory != "" {
		var err error
		if memory, err = flink.ParseMemory(cfg.Capacity.Memory); err != nil {
			return fmt.Errorf("capacity.memory: %w", err)
		}
	}
	rt, err := process.New(process.Config{
		Dir: cfg.Dir, Dists: cfg.Runtime.Flink, Java: cfg.Runtime.Java, UsrLib: cfg.Runtime.UsrLib,
		StateRoot: cfg.StateStorage.Root, MemoryTotal: memory, Logger: log,
	})
	if err != nil {
		return err
	}
	deps.Runtime, deps.Flink, deps.Snapshots = rt, flinkrest.New(flinkrest.Config{Logger: log}), process.Snapshots{}
	return nil
}

// wire builds the parts over the store and the ports, and introduces them to each other.
func (a *Agent) wire(ctx context.Context, deps Deps) error {
	registry := telemetry.NewRegistry(deps.Version)
	metrics := telemetry.NewAgent(registry, session.States()...)
	var err error
	a.enrol, err = enrol.New(enrol.Config{
		Dir: filepath.Join(a.cfg.Dir, "identity"), TokenFile: a.cfg.Hub.TokenFile, BundleFile: a.cfg.Hub.CAFile, Pin: a.cfg.Hub.CAPin,
		TrustDomain: a.cfg.Hub.TrustDomain, Hub: a.cfg.Hub.Address, AgentVersion: deps.Version, Dial: deps.Dial, Logger: a.log,
	})
	if err != nil {
		return err
	}
	telemetry.ExpiryGauge(registry, func() time.Time { return a.enrol.Status().NotAfter })
	a.session, err = session.New(session.Config{
		Store: a.disk, Address: a.cfg.Hub.Address, DialContext: deps.Dial, Rotated: a.enrol.Rotated(),
		Credentials: credentials.NewTLS(identity.ClientTLS(identity.Client{Source: a.enrol.Source(), TrustDomain: a.cfg.Hub.TrustDomain})),
		Wake: func(uids []string) {
			for _, uid := range uids {
				a.reconcile.Wake(uid)
			}
		},
		Encode: wire.StatusToProto, Facts: a.facts, AgentVersion: deps.Version, Metrics: metrics, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.reconcile = reconcile.New(reconcile.Config{
		Store:   records{a.disk},
		Observe: observe.New(deps.Runtime, deps.Flink, deps.Snapshots).Observe,
		Act:     act.New(deps.Runtime, deps.Flink).Do,
		Collect: deps.Runtime.Collect,
		Report: func(ctx context.Context, o flink.Order, s flink.Status) error {
			a.view.put(o, s)
			return a.session.Report(ctx, o.UID, s)
		},
		Left: a.view.drop, StateRoot: a.cfg.StateStorage.Root, Metrics: metrics, Logger: a.log,
	})
	a.listeners, err = a.listen(ctx, registry)
	return err
}

// facts is what the hub is told about this place.
func (a *Agent) facts() session.Facts {
	total, used := a.memory(context.Background())
	return session.Facts{MemoryTotal: total, MemoryUsed: used, FlinkVersions: slices.Sorted(maps.Keys(a.cfg.Runtime.Flink))}
}

// Run makes the orders true until ctx ends. Runs go on when it returns.
func (a *Agent) Run(ctx context.Context) error {
	tasks := []run.Task{
		{Name: "reconcile", Run: a.reconcile.Run},
		{Name: "runtime", Run: func(ctx context.Context) error { return a.runtime.Run(ctx, a.reconcile.Wake) }},
		{Name: "membership", Run: a.enrol.Run},
		{Name: "session", Run: func(ctx context.Context) error {
			if err := a.enrol.Wait(ctx); err != nil {
				return err
			}
			return a.session.Run(ctx)
		}},
	}
	for _, l := range a.listeners {
		tasks = append(tasks, run.Task{Name: "listener", Run: l.Run})
	}
	return run.Tasks(ctx, tasks...)
}

// Close releases the records. Nothing is lost by not calling it.
func (a *Agent) Close() error { return a.disk.Close() }

// records is the disk store as reconcile's port.
type records struct{ *disk.Store }

// Load implements reconcile.Store.
func (r records) Load(ctx context.Context, uid string) (reconcile.Record, bool, error) {
	rec, ok, err := r.Store.Load(ctx, uid)
	return reconcile.Record(rec), ok, err
}
