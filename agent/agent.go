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

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"github.com/waterwheel-io/waterwheel/agent/act"
	"github.com/waterwheel-io/waterwheel/agent/disk"
	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/observe"
	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/agent/reconcile"
	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/agent/session"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
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
	// Runtime, Flink and Snapshots replace the ports of the configured runtime on a host, all three or none.
	Runtime   reconcile.Runtime
	Flink     reconcile.Flink
	Snapshots reconcile.Snapshots

	registry *prometheus.Registry
}

// Agent is one agent. New builds it, Run is called once, Close after it.
type Agent struct {
	cfg       Config
	log       *slog.Logger
	records   *records.Store
	close     func() error // of the records
	enrol     *enrol.Agent
	session   *session.Client
	runtime   reconcile.Runtime
	reconcile *reconcile.Reconciler
	view      *view
	tasks     []run.Task // what the place has to run besides
	listeners []*telemetry.Server
}

// place is all that differs between a host and a cluster.
type place struct {
	deps      Deps
	records   *records.Store
	close     func() error
	enrol     enrol.Config // where its identity and its token are
	stateRoot func(tenant string) string
	hold      func(uid string) *flink.Hold           // nil: nobody can hold anything here
	shown     func(uid string, st flink.Status)      // nil: nobody looks
	tasks     func(wake func(uid string)) []run.Task // nil: none
}

// New opens the agent's records and builds its parts. It touches no network but its own listeners, and in a cluster the
// API server.
func New(ctx context.Context, cfg Config, deps Deps) (*Agent, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	deps.registry = telemetry.NewRegistry(deps.Version)
	a, err := build(ctx, cfg, deps)
	if err != nil {
		return nil, err
	}
	if a.listeners, err = listen(ctx, cfg, deps.registry, a.serveStatus, a.log); err != nil {
		return nil, fmt.Errorf("%w%s", err, closing(a.Close()))
	}
	return a, nil
}

// build is New without listeners.
func build(ctx context.Context, cfg Config, deps Deps) (*Agent, error) {
	a := &Agent{cfg: cfg, log: deps.Logger, view: &view{jobs: map[string]seenJob{}}}
	where := host
	if cfg.Runtime.Kind == kindKubernetes {
		where = a.cluster
	}
	p, err := where(ctx, cfg, deps)
	if err != nil {
		return nil, err
	}
	a.records, a.close, a.runtime = p.records, p.close, p.deps.Runtime
	if err := a.wire(p); err != nil {
		return nil, fmt.Errorf("%w%s", err, closing(a.Close()))
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

// identityDir is where an agent on a host keeps its identity, in its directory.
const identityDir = "identity"

// host is this host: processes, and records in a file.
func host(_ context.Context, cfg Config, deps Deps) (place, error) {
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return place{}, fmt.Errorf("make the agent's directory: %w", err)
	}
	if deps.Runtime == nil {
		var memory int64
		if cfg.Capacity.Memory != "" {
			var err error
			if memory, err = flink.ParseMemory(cfg.Capacity.Memory); err != nil {
				return place{}, fmt.Errorf("capacity.memory: %w", err)
			}
		}
		rt, err := process.New(process.Config{
			Dir: cfg.Dir, Dists: cfg.Runtime.Flink, Java: cfg.Runtime.Java, UsrLib: cfg.Runtime.UsrLib,
			StateRoot: cfg.StateStorage.Root, MemoryTotal: memory, Logger: deps.Logger,
		})
		if err != nil {
			return place{}, err
		}
		deps.Runtime, deps.Flink, deps.Snapshots = rt, flinkrest.New(flinkrest.Config{Logger: deps.Logger}), process.Snapshots{}
	}
	kept, err := disk.Open(filepath.Join(cfg.Dir, "agent.db"), disk.Options{Create: true, Decode: decode})
	if err != nil {
		return place{}, err
	}
	return place{
		deps: deps, records: kept.Store, close: kept.Close,
		enrol:     enrol.Config{Dir: filepath.Join(cfg.Dir, identityDir), TokenFile: cfg.Hub.TokenFile},
		stateRoot: func(string) string { return cfg.StateStorage.Root },
	}, nil
}

// wire builds the parts over the store and the ports, and introduces them to each other.
func (a *Agent) wire(p place) error {
	deps, metrics := p.deps, telemetry.NewAgent(p.deps.registry, session.States()...)
	member := p.enrol
	member.BundleFile, member.Pin, member.TrustDomain, member.Hub = a.cfg.Hub.CAFile, a.cfg.Hub.CAPin, a.cfg.Hub.TrustDomain, a.cfg.Hub.Address
	member.AgentVersion, member.Dial, member.Logger = deps.Version, deps.Dial, a.log
	member.Site = func() string { return a.records.Standing().SiteUID }
	var err error
	if a.enrol, err = enrol.New(member); err != nil {
		return err
	}
	telemetry.ExpiryGauge(deps.registry, func() time.Time { return a.enrol.Status().NotAfter })
	a.session, err = session.New(session.Config{
		Store: a.records, Address: a.cfg.Hub.Address, DialContext: deps.Dial, Rotated: a.enrol.Rotated(),
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
		Store:   jobs{a.records},
		Observe: held(observe.New(deps.Runtime, deps.Flink, deps.Snapshots).Observe, p.hold),
		Act:     act.New(deps.Runtime, deps.Flink).Do,
		Collect: deps.Runtime.Collect,
		Report: func(ctx context.Context, o flink.Order, s flink.Status) error {
			a.view.put(o, s)
			return a.session.Report(ctx, o.UID, s)
		},
		Show: p.shown, Left: a.view.drop, StateRoot: p.stateRoot, Metrics: metrics, Logger: a.log,
	})
	if p.tasks != nil {
		a.tasks = p.tasks(a.reconcile.Wake)
	}
	return nil
}

// observer looks at one job once.
type observer func(context.Context, flink.Order, plan.Memory) (flink.Observed, error)

// held adds to what is seen of a job whether a person holds it.
func held(look observer, hold func(uid string) *flink.Hold) observer {
	if hold == nil {
		return look
	}
	return func(ctx context.Context, o flink.Order, m plan.Memory) (flink.Observed, error) {
		seen, err := look(ctx, o, m)
		seen.Hold = hold(o.UID)
		return seen, err
	}
}

// facts is what the hub is told about this place.
func (a *Agent) facts() session.Facts {
	total, used := a.memory(context.Background())
	versions := a.cfg.Runtime.Flink
	if a.cfg.Runtime.Kind == kindKubernetes {
		versions = a.cfg.Runtime.Kubernetes.Images
	}
	return session.Facts{MemoryTotal: total, MemoryUsed: used, FlinkVersions: slices.Sorted(maps.Keys(versions))}
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
	tasks = append(tasks, a.tasks...)
	for _, l := range a.listeners {
		tasks = append(tasks, run.Task{Name: "listener", Run: l.Run})
	}
	return run.Tasks(ctx, tasks...)
}

// Close releases the records. Nothing is lost by not calling it.
func (a *Agent) Close() error { return a.close() }

// jobs are the records as reconcile's port.
type jobs struct{ *records.Store }

// Load implements reconcile.Store.
func (j jobs) Load(ctx context.Context, uid string) (reconcile.Record, bool, error) {
	rec, ok, err := j.Store.Load(ctx, uid)
	return reconcile.Record(rec), ok, err
}
