package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waterwheel-io/waterwheel/agent/kube/keys"
	"github.com/waterwheel-io/waterwheel/agent/render"
)

// Config says where a Runtime works and with what.
type Config struct {
	API       *rest.Config            // see Connect
	Namespace string                  // the agent's own
	Keys      string                  // the Secret there from which the keys of runs are derived; made if it is not there
	Tenants   map[string]render.Place // where the runs of each tenant are brought up; Cluster is filled in here
	Cluster   func() string           // uid of this cluster at the hub, "" while it has not joined; nil: never
	// TenantOf says whose a job is. Nil, or false: not known, and a job is looked for everywhere.
	TenantOf func(uid string) (tenant string, ok bool)
	Logger   *slog.Logger // default: none
}

// Limits of what has no deadline of its own: the API server may be silent.
const (
	callLimit = 30 * time.Second // for one Ensure, Collect, or look at a record
	seenLimit = 2 * time.Second  // for a write to be seen in the watches
)

// Runtime keeps the Flink clusters of runs as objects of a Kubernetes cluster.
// All methods may be called from many goroutines; Run has to run for any other
// to answer.
type Runtime struct {
	cfg    Config
	log    *slog.Logger
	client kubernetes.Interface
	apply  dynamic.Interface
	spaces map[string]*space // by namespace
	bell   *bell
	ring   *keys.Ring
	events *events
	wake   wakes

	memo memo

	masterMu sync.Mutex // guards master; held while it is read, so that it is once
	master   []byte
}

// Connect finds the API server: by a kubeconfig file, or as a pod of its cluster
// if there is none. A pod goes straight to it: the proxy of its environment is for
// the way out of the cluster.
func Connect(kubeconfig string) (*rest.Config, error) {
	var cfg *rest.Config
	var err error
	if kubeconfig == "" {
		if cfg, err = rest.InClusterConfig(); err == nil {
			direct(cfg)
		}
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	return cfg, nil
}

// direct keeps connections off any proxy.
func direct(cfg *rest.Config) {
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
}

// New builds a Runtime. It asks the API server for nothing yet.
func New(cfg Config) (*Runtime, error) {
	if cfg.API == nil || cfg.Namespace == "" || cfg.Keys == "" {
		return nil, errors.New("a runtime needs an API server, a namespace of the agent's own, and the name of a Secret there")
	}
	for tenant, place := range cfg.Tenants {
		if place.Namespace == "" {
			return nil, fmt.Errorf("tenant %s has no namespace", tenant)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	api := rest.CopyConfig(cfg.API)
	api.UserAgent = Manager
	api.QPS = -1 // the reconciler bounds what goes on at once, and the API server shares itself out fairly
	api.WarningHandler = rest.NoWarnings{}
	api.ContentType, api.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	apply, err := dynamic.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	r := &Runtime{cfg: cfg, log: cfg.Logger, client: client, apply: apply, bell: newBell(), spaces: map[string]*space{}}
	r.ring = keys.NewRing(r.masterSecret)
	r.events = newEvents(client)
	for _, place := range cfg.Tenants {
		if r.spaces[place.Namespace] == nil {
			if r.spaces[place.Namespace], err = newSpace(client, place.Namespace, r.changed); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// HTTPClient is for the REST of runs: it proves the agent to each with that run's keys.
func (r *Runtime) HTTPClient(dial keys.Dial) *http.Client { return r.ring.HTTPClient(dial) }

// namespaceOf is the namespace of a job, "" while it is not known whose it is.
func (r *Runtime) namespaceOf(uid string) string {
	if r.cfg.TenantOf == nil {
		return ""
	}
	tenant, ok := r.cfg.TenantOf(uid)
	if !ok {
		return ""
	}
	return r.cfg.Tenants[tenant].Namespace
}

// place is where the runs of a tenant are brought up.
func (r *Runtime) place(tenant string) (render.Place, bool) {
	p, ok := r.cfg.Tenants[tenant]
	if r.cfg.Cluster != nil {
		p.Cluster = r.cfg.Cluster()
	}
	return p, ok
}

// settled returns the spaces in which a job may have anything, in order. It is
// an error if one of them that counts cannot be seen now.
func (r *Runtime) settled(uid string) ([]*space, error) {
	own := r.namespaceOf(uid)
	var out []*space
	for _, name := range slices.Sorted(maps.Keys(r.spaces)) {
		s := r.spaces[name]
		switch err := s.health(); {
		case err == nil:
			out = append(out, s)
		case own == "" || own == name:
			return nil, unseen(name, err)
		}
	}
	return out, nil
}

// await returns true when seen says so, false after a while. What was written is
// usually in the watches within milliseconds, and a decision on what was before
// it costs no more than a useless look.
func (r *Runtime) await(ctx context.Context, most time.Duration, seen func() bool) bool {
	limit := time.NewTimer(most)
	defer limit.Stop()
	for {
		rung := r.bell.heard()
		if seen() {
			return true
		}
		select {
		case <-rung:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// bell tells many who wait that something changed.
type bell struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next ring
}

func newBell() *bell { return &bell{next: make(chan struct{})} }

func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}
