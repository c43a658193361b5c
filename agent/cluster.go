package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/lease"
	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// tokenKey is where the join token stands in its Secret.
const tokenKey = "token"

// tokenStays is how long the Secret of a used token is left: an agent that waits for one may use it before Helm, which
// has just made it, has seen that it is there, and Helm would wait for it until it gives the upgrade up.
const tokenStays = 30 * time.Second

// selector is by what the agent's pods are known, for those who may be called by them alone. The chart gives them these labels.
func selector() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "waterwheel-agent"}
}

// cluster is this Kubernetes cluster: objects, and records among them.
func (a *Agent) cluster(ctx context.Context, cfg Config, deps Deps) (place, error) {
	k := cfg.Runtime.Kubernetes
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		return place{}, err
	}
	tenants, err := k.places(cfg.StateStorage.Root, selector())
	if err != nil {
		return place{}, err
	}
	member, err := inSecrets(k)
	if err != nil {
		return place{}, err
	}
	kept, err := store.Open(ctx, store.Options{
		API: api, Namespace: k.Namespace, ConfigMap: k.Records, Decode: decode, Readable: wire.SpecJSON, Logger: deps.Logger,
	})
	if err != nil {
		return place{}, err
	}
	rt, err := kube.New(kube.Config{
		API: api, Namespace: k.Namespace, Keys: k.Secrets.Keys, Tenants: tenants, Logger: deps.Logger,
		Cluster: func() string { return a.enrol.Status().Cluster },
		TenantOf: func(uid string) (string, bool) {
			rec, ok, err := kept.Load(ctx, uid)
			return rec.Order.Tenant, err == nil && ok && rec.Order.Tenant != ""
		},
	})
	if err != nil {
		return place{}, fmt.Errorf("%w%s", err, closing(kept.Close()))
	}
	deps.Runtime, deps.Snapshots = rt, rt.Snapshots()
	deps.Flink = flinkrest.New(flinkrest.Config{HTTP: rt.HTTPClient(nil), Logger: deps.Logger})
	return place{
		deps: deps, records: kept.Store, close: kept.Close,
		enrol:     member,
		stateRoot: func(tenant string) string { return tenants[tenant].StateRoot },
		hold:      kept.Holds, shown: kept.PutStatus,
		tasks: func(wake func(uid string)) []run.Task {
			return []run.Task{{Name: "records", Run: func(ctx context.Context) error { return kept.Run(ctx, wake) }}}
		},
	}, nil
}

// inSecrets keeps a membership in Secrets of the agent's namespace. It asks for nothing yet.
func inSecrets(k KubernetesConfig) (enrol.Config, error) {
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		return enrol.Config{}, err
	}
	identity, err := store.NewSecret(api, k.Namespace, k.Secrets.Identity)
	if err != nil {
		return enrol.Config{}, err
	}
	token, err := store.NewJoinToken(api, k.Namespace, k.Secrets.Join, tokenKey)
	if err != nil {
		return enrol.Config{}, err
	}
	return enrol.Config{Keeper: identity, Token: token, TokenStays: tokenStays}, nil
}

// Serve is an agent from its start to its end. In a cluster several replicas may do so at once: one of them acts, the
// others are ready, and wait.
func Serve(ctx context.Context, cfg Config, deps Deps) error {
	if cfg.Runtime.Kind == kindKubernetes {
		return serveInTurn(ctx, cfg, deps)
	}
	a, err := New(ctx, cfg, deps)
	if err != nil {
		return err
	}
	return errors.Join(a.Run(ctx), a.Close())
}

// serveInTurn acts while it holds the Lease. Its listeners answer before.
func serveInTurn(ctx context.Context, cfg Config, deps Deps) error {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	kube.LogTo(deps.Logger)
	k := cfg.Runtime.Kubernetes
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		return err
	}
	name, err := os.Hostname() // in a pod, its name
	if err != nil {
		return fmt.Errorf("name this replica: %w", err)
	}
	var acting atomic.Pointer[Agent]
	deps.registry = telemetry.NewRegistry(deps.Version)
	listeners, err := listen(ctx, cfg, deps.registry, func(w http.ResponseWriter, r *http.Request) {
		if a := acting.Load(); a != nil {
			a.serveStatus(w, r)
			return
		}
		http.Error(w, "another replica of this agent acts", http.StatusServiceUnavailable)
	}, deps.Logger)
	if err != nil {
		return err
	}
	var tasks []run.Task
	for _, l := range listeners {
		tasks = append(tasks, run.Task{Name: "listener", Run: l.Run})
	}
	e := k.Election
	turn := lease.Config{
		API: api, Namespace: k.Namespace, Name: e.Lease, Identity: name, Logger: deps.Logger,
		Duration: e.Duration, RenewDeadline: e.RenewDeadline, RetryPeriod: e.RetryPeriod,
	}
	tasks = append(tasks, run.Task{Name: "lease", Run: func(ctx context.Context) error {
		return lease.Run(ctx, turn, func(ctx context.Context) error {
			a, err := build(ctx, cfg, deps)
			if err != nil {
				return err
			}
			acting.Store(a)
			return errors.Join(a.Run(ctx), a.Close())
		})
	}})
	return run.Tasks(ctx, tasks...)
}
