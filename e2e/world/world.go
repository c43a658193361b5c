package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/agent"
	"github.com/waterwheel-io/waterwheel/hub"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// domain is the trust domain of the world.
const domain = "world.test"

// World is a hub and its agents. Its methods belong to one goroutine, that of the test.
type World struct {
	Dir    string
	Log    *slog.Logger
	Agents []*Member

	cfg      hub.Config
	agents   Port // of the hub, for agents
	admins   Port
	registry *prometheus.Registry
	stop     func() error

	transport *http.Transport
	Jobs      adminv1connect.JobServiceClient
	Clusters  adminv1connect.ClusterServiceClient
}

// Member is one agent with its place and its way to the hub.
type Member struct {
	Name  string
	Link  *Link
	Place *Place
	cfg   agent.Config
	stop  func() error
}

// New makes a hub in dir and starts it.
func New(ctx context.Context, dir string, log *slog.Logger) (*World, error) {
	w := &World{Dir: dir, Log: log, cfg: hub.DefaultConfig()}
	w.cfg.Dir, w.cfg.TrustDomain = filepath.Join(dir, "hub"), domain
	w.cfg.Agents.Listen, w.cfg.Admin.Listen, w.cfg.Metrics.Listen = "agents.test:1", "admins.test:1", ""
	w.cfg.Agents.Advertise = "hub.test:1"
	_, admin, err := hub.Init(ctx, w.cfg, "test", log)
	if err != nil {
		return nil, err
	}
	if err := w.StartHub(ctx); err != nil {
		return nil, err
	}
	return w, w.connect(admin)
}

// StartHub starts the hub in its directory: a new epoch.
func (w *World) StartHub(ctx context.Context) error {
	w.registry = telemetry.NewRegistry("world")
	h, err := hub.New(ctx, w.cfg, hub.Deps{Logger: w.Log, Registry: w.registry, Listen: func(_, addr string) (net.Listener, error) {
		if addr == w.cfg.Agents.Listen {
			return w.agents.Listen(), nil
		}
		return w.admins.Listen(), nil
	}})
	if err != nil {
		return err
	}
	w.stop = start(ctx, h.Run)
	return nil
}

// StopHub ends the hub and waits for its end.
func (w *World) StopHub() error { return w.stop() }

// start runs f in a goroutine; the returned func ends it and returns its error.
func start(ctx context.Context, f func(context.Context) error) func() error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() error {
		cancel()
		err := <-done
		done <- nil // ended twice is ended
		return err
	}
}

// connect makes the admin's clients.
func (w *World) connect(admin string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(admin, "cert.pem"), filepath.Join(admin, "key.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(admin, "ca.pem"))
	if err != nil {
		return err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("no roots in the admin's files")
	}
	w.transport = &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return w.admins.dial(ctx) },
		TLSClientConfig:   identity.ClientTLS(identity.Client{Source: identity.NewStaticSource(&cert, roots), TrustDomain: domain}),
		ForceAttemptHTTP2: true,
	}
	c := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: w.transport}, "https://admins.test"))
	w.Jobs, w.Clusters = adminv1connect.NewJobServiceClient(c), adminv1connect.NewClusterServiceClient(c)
	return nil
}

// Join invites a cluster and starts its agent with a join token.
func (w *World) Join(ctx context.Context, name string) (*Member, error) {
	inv, err := w.Clusters.InviteCluster(ctx, adminv1.InviteClusterRequest_builder{Name: name}.Build())
	if err != nil {
		return nil, fmt.Errorf("invite %s: %w", name, err)
	}
	dir := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	if err := errors.Join(os.WriteFile(token, []byte(inv.GetToken()), 0o600), os.WriteFile(ca, []byte(inv.GetCaBundle()), 0o600)); err != nil {
		return nil, err
	}
	m := &Member{Name: name, Link: NewLink(&w.agents), Place: NewPlace(), cfg: agent.Config{
		Hub: agent.HubConfig{Address: inv.GetHubAddress(), TrustDomain: domain, CAFile: ca, TokenFile: token},
		Dir: dir, Listen: agent.NoListener, StateStorage: agent.StorageConfig{Root: "file:///state"},
		Runtime: agent.RuntimeConfig{Kind: "process", Flink: map[string]string{"2.3": "nowhere"}},
	}}
	w.Agents = append(w.Agents, m)
	return m, w.StartAgent(ctx, m)
}

// Clone starts an agent elsewhere with all of a member's identity, and none of its records.
func (w *World) Clone(ctx context.Context, m *Member) (*Member, error) {
	dir := filepath.Join(w.Dir, m.Name+"-clone")
	if err := os.CopyFS(filepath.Join(dir, "identity"), os.DirFS(filepath.Join(m.cfg.Dir, "identity"))); err != nil {
		return nil, err
	}
	c := &Member{Name: m.Name + "-clone", Link: NewLink(&w.agents), Place: NewPlace(), cfg: m.cfg}
	c.cfg.Dir = dir
	w.Agents = append(w.Agents, c)
	return c, w.StartAgent(ctx, c)
}

// StartAgent starts a member's agent over what an earlier life left.
func (w *World) StartAgent(ctx context.Context, m *Member) error {
	a, err := agent.New(ctx, m.cfg, agent.Deps{
		Version: "world", Logger: w.Log.With("agent", m.Name), Dial: m.Link.Dial,
		Runtime: m.Place, Flink: REST{m.Place}, Snapshots: m.Place,
	})
	if err != nil {
		return err
	}
	m.stop = start(ctx, func(ctx context.Context) error { return errors.Join(a.Run(ctx), a.Close()) })
	return nil
}

// StopAgent ends a member's agent; its place goes on.
func (w *World) StopAgent(m *Member) error { return m.stop() }

// Close ends everything.
func (w *World) Close() error {
	var errs []error
	for _, m := range w.Agents {
		m.Link.ReadAgain()
		errs = append(errs, m.stop())
	}
	w.transport.CloseIdleConnections()
	return errors.Join(append(errs, w.stop())...)
}

// Manifest is a job on a cluster.
func Manifest(name, cluster string, parallelism int32) *flinkv1.Job {
	return flinkv1.Job_builder{
		ApiVersion: "waterwheel.dev/v1", Kind: "Job",
		Metadata: flinkv1.Metadata_builder{Name: name}.Build(),
		Spec: flinkv1.JobSpec_builder{
			Cluster: cluster, FlinkVersion: "2.3", Parallelism: parallelism,
			Checkpointing: flinkv1.Checkpointing_builder{Interval: "1m"}.Build(),
			Jar:           flinkv1.Jar_builder{Uri: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main"}.Build(),
		}.Build(),
	}.Build()
}

// Apply applies a manifest.
func (w *World) Apply(ctx context.Context, j *flinkv1.Job) error {
	_, err := w.Jobs.ApplyJob(ctx, adminv1.ApplyJobRequest_builder{Job: j}.Build())
	return err
}

// Job reads a job.
func (w *World) Job(ctx context.Context, name string) (*flinkv1.Job, error) {
	resp, err := w.Jobs.GetJob(ctx, adminv1.GetJobRequest_builder{Tenant: "default", Name: name}.Build())
	if err != nil {
		return nil, err
	}
	return resp.GetJob(), nil
}

// Ready reports whether a job runs as its newest generation says, told lately.
func Ready(j *flinkv1.Job) bool {
	st := j.GetStatus()
	return st.GetState() == "Running" && st.GetFreshness() == "live" && st.GetObservedGeneration() == j.GetMetadata().GetGeneration()
}

// Until asks each second of false time until ok, for at most limit.
func Until(ctx context.Context, limit time.Duration, ok func() bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			return fmt.Errorf("not within %s", limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Metric sums a counter or gauge of the hub over its labels.
func (w *World) Metric(name string) (float64, error) {
	families, err := w.registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum, nil
	}
	return 0, fmt.Errorf("hub has no metric %s", name)
}
