package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/jobs"
	"github.com/waterwheel-io/waterwheel/hub/session"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// Deps is what a hub is given by its process. Logger and Registry are required.
type Deps struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry
	// Listen binds all ports; nil: net.Listen.
	Listen func(network, addr string) (net.Listener, error)
}

// Hub is one hub, its store open and its ports bound. Run it once, or Close it.
type Hub struct {
	cfg       Config
	log       *slog.Logger
	authority *ca.Authority
	store     *store.Store
	members   *ca.Members
	sessions  *session.Server

	agents     *grpc.Server
	drain      func() // of the agents' port
	people     *http.Server
	watch      []*telemetry.Server // metrics and probes
	agentsPort net.Listener
	peoplePort net.Listener
	ready      atomic.Bool
}

// New opens the directory of a hub, which begins a new epoch, and binds its ports. Nothing is served before Run.
func New(ctx context.Context, cfg Config, deps Deps) (*Hub, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, log: deps.Logger}
	var err error
	if h.authority, err = openAuthority(cfg); err != nil {
		return nil, err
	}
	mac, err := openMAC(cfg.Dir)
	if err != nil {
		return nil, err
	}
	h.store, err = store.Open(ctx, store.Options{
		Dir: filepath.Join(cfg.Dir, storeDir), Logger: h.log, MAC: mac, Registerer: deps.Registry,
	})
	if err != nil {
		return nil, err
	}
	if err := h.bind(ctx, deps); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.wire(deps.Registry); err != nil {
		return nil, errors.Join(err, h.Close())
	}

	return h, nil
}

// bind takes all ports, so that a process that cannot serve ends before it serves in part.
func (h *Hub) bind(ctx context.Context, deps Deps) error {
	listen := deps.Listen
	if listen == nil {
		listen = func(network, addr string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, network, addr)
		}
	}
	var err error
	if h.agentsPort, err = listen("tcp", h.cfg.Agents.Listen); err != nil {
		return fmt.Errorf("listening for agents: %w", err)
	}
	if h.peoplePort, err = listen("tcp", h.cfg.Admin.Listen); err != nil {
		return fmt.Errorf("listening for admins: %w", err)
	}
	for _, cfg := range []telemetry.Config{
		{
			Addr: h.cfg.Metrics.Listen, AllowExternal: h.cfg.Metrics.Public,
			Registry: deps.Registry, Ready: h.whyNotReady, Logger: h.log,
		},
		telemetry.Probes(h.cfg.Health.Listen, h.whyNotReady, h.log),
	} {
		if cfg.Addr == "" {
			continue
		}
		cfg.Listen = listen
		s, err := telemetry.Listen(ctx, cfg)
		if err != nil {
			return err
		}
		h.watch = append(h.watch, s)
	}

	return nil
}

// wire joins the rooms, bottom up.
func (h *Hub) wire(registry *prometheus.Registry) error {
	metrics := telemetry.NewHub(registry)
	source, err := h.authority.HubSource(h.cfg.certificateNames(), h.log)
	if err != nil {
		return err
	}
	telemetry.ExpiryGauge(registry, func() time.Time { return source.Certificate().Leaf.NotAfter })
	desired := jobs.New(h.store, wire.OrderBytes, nil)
	h.members = ca.NewMembers(h.authority, h.store, h.cfg.CertificateLife,
		func(outcome string) { metrics.Reattests.Inc(outcome) }, h.log)
	h.sessions, err = session.New(session.Config{
		Store: h.store, Peer: sessionPeer, Gone: desired.Gone, Decode: wire.StatusFromProto,
		Banned:  func(p session.Peer) bool { return h.members.Standing(p.ClusterUID) != nil },
		Metrics: metrics, Logger: h.log,
	})
	if err != nil {
		return err
	}

	domain := h.authority.TrustDomain()
	handshakes, noMore := context.WithCancel(context.Background())
	h.drain = func() {
		noMore()
		h.sessions.Drain()
	}
	h.agents = newAgentServer(handshakes, source, domain, h.members.Check, h.log)
	h.members.Register(h.agents)
	h.sessions.Register(h.agents)

	api := admin.Handler(admin.Config{
		Store: h.store,
		Apply: func(ctx context.Context, who string, want flink.Job, expect *int32) (store.Job, string, error) {
			job, result, err := desired.Apply(ctx, who, want, expect)

			return job, string(result), err
		},
		Delete: desired.Delete, Restart: desired.Restart,
		Invite: h.invite, Remove: h.members.Remove,
		IssueAdmin: h.issueAdmin,
		Session:    h.session,
		Explain:    explain,
		Count:      func(method, code string) { metrics.AdminRequests.Inc(method, code) },
		Logger:     h.log,
	})
	h.people = newAdminServer(source, domain, api, h.log)

	return nil
}

// session is what the admin API shows of a cluster's session.
func (h *Hub) session(clusterUID string) admin.Session {
	l := h.sessions.Live(clusterUID)
	if l.Message == "" {
		l.Message = h.members.Suspected(clusterUID)
	}

	return admin.Session{
		Up: l.Up, LastSeen: l.LastSeen, AgentVersion: l.AgentVersion, Pending: l.Pending, Resumes: int(l.Resumes),
		Message: l.Message, MemoryTotal: l.MemoryTotal, MemoryUsed: l.MemoryUsed, FlinkVersions: l.FlinkVersions,
	}
}

// invite adds to an invitation what else a new agent must know.
func (h *Hub) invite(ctx context.Context, who, name string) (admin.Invitation, error) {
	inv, err := h.members.Invite(ctx, who, name)
	if err != nil {
		return admin.Invitation{}, err
	}

	return admin.Invitation{
		Cluster: inv.Cluster, Token: inv.Token, ExpiresAt: inv.ExpiresAt,
		CAPin: h.authority.Pin(), CABundle: string(identity.EncodeCertificates(h.authority.Roots()...)),
		HubAddress: h.AgentsAddr(), TrustDomain: h.authority.TrustDomain(),
	}, nil
}

// issueAdmin adds to a certificate what else a new admin must know.
func (h *Hub) issueAdmin(ctx context.Context, who, name string, csr []byte) (admin.AdminCertificate, error) {
	chain, err := h.members.IssueAdmin(ctx, who, name, csr)
	if err != nil {
		return admin.AdminCertificate{}, err
	}
	id, err := identity.IDOf(chain[0])
	if err != nil {
		return admin.AdminCertificate{}, err
	}

	return admin.AdminCertificate{
		Certificate: string(identity.EncodeCertificates(chain...)), CABundle: string(identity.EncodeCertificates(h.authority.Roots()...)),
		SPIFFEID: id.String(), NotAfter: chain[0].NotAfter, HubAddress: h.AdminAddr(),
	}, nil
}

// AgentsAddr is the host:port that agents are told to dial.
func (h *Hub) AgentsAddr() string {
	return h.cfg.advertised(h.cfg.Agents, h.agentsPort.Addr().String())
}

// AdminAddr is the host:port that admins are told to dial.
func (h *Hub) AdminAddr() string {
	return h.cfg.advertised(h.cfg.Admin, h.peoplePort.Addr().String())
}

func (h *Hub) whyNotReady() error {
	if !h.ready.Load() {
		return errors.New("not serving")
	}

	return nil
}

// Run serves until ctx ends or a part fails, then closes the hub. The store outlives those that write to it: when ctx
// ends, the ports are drained first, then the store is flushed.
func (h *Hub) Run(ctx context.Context) error {
	// Neither part ends by ctx itself; the store ends after the ports, the ports by ctx or with the store.
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	err := run.Once(context.WithoutCancel(ctx),
		run.Task{Name: "store", Run: func(failed context.Context) error {
			defer context.AfterFunc(failed, stopStore)()

			return h.store.Run(storeCtx)
		}},
		run.Task{Name: "serving", Run: func(failed context.Context) error {
			defer stopStore()
			ports, stop := context.WithCancelCause(ctx)
			defer stop(nil)
			defer context.AfterFunc(failed, func() { stop(context.Cause(failed)) })()

			return h.serve(ports)
		}},
	)

	return errors.Join(err, h.Close())
}

// serve runs the ports.
func (h *Hub) serve(ctx context.Context) error {
	tasks := []run.Task{
		{Name: "agents", Run: func(ctx context.Context) error { return serveAgents(ctx, h.agents, h.agentsPort, h.drain) }},
		{Name: "admins", Run: func(ctx context.Context) error { return serveAdmins(ctx, h.people, h.peoplePort) }},
	}
	for _, s := range h.watch {
		tasks = append(tasks, run.Task{Name: "telemetry", Run: s.Run})
	}
	h.ready.Store(true)
	defer h.ready.Store(false)
	context.AfterFunc(ctx, func() { h.ready.Store(false) })
	h.log.Info("serving", "agents", h.AgentsAddr(), "admin", h.AdminAddr(), "trust_domain", h.authority.TrustDomain())

	return run.Tasks(ctx, tasks...)
}

// Close gives up a hub that is not run. Run does it by itself.
func (h *Hub) Close() error {
	var errs []error
	for _, lis := range []net.Listener{h.agentsPort, h.peoplePort} {
		if lis != nil {
			if err := lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	for _, s := range h.watch {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}

	return errors.Join(append(errs, h.store.Close())...)
}
