package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"github.com/waterwheel-io/waterwheel/agent/disk"
	agentsession "github.com/waterwheel-io/waterwheel/agent/session"
	"github.com/waterwheel-io/waterwheel/flink"
	hubsession "github.com/waterwheel-io/waterwheel/hub/session"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	"github.com/waterwheel-io/waterwheel/internal/wire"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// world is one hub and its agents.
type world struct {
	t      *testing.T
	net    *wires // has the cuts; the hub's listener changes with each start
	dir    string
	agents map[string]*agent

	notAfter map[string]time.Time
	banned   map[string]bool

	mu       sync.Mutex // guards listener, which dials read
	listener *wires

	store   *store.Store
	server  *hubsession.Server
	grpc    *grpc.Server
	metrics *prometheus.Registry
	stop    func()
}

type agent struct {
	w       *world
	cluster string
	path    string
	disk    *disk.Store
	client  *agentsession.Client
	rotated chan struct{}
	stop    func()

	mu    sync.Mutex // guards woken
	woken []string
}

// begin makes a world with a hub and the clusters.
func begin(t *testing.T, clusters ...string) *world {
	t.Helper()
	w := &world{
		t: t, net: newWires(), dir: t.TempDir(), agents: map[string]*agent{},
		notAfter: map[string]time.Time{}, banned: map[string]bool{},
	}
	w.startHub(true)
	for _, c := range clusters {
		w.write(func(tx *store.Txn) { tx.PutCluster(store.Cluster{UID: c, Name: c, State: store.ClusterJoined}) })
	}

	return w
}

// end stops everything; a bubble does not end before its goroutines have.
func (w *world) end() {
	for _, a := range w.agents {
		if a.stop != nil {
			a.stop()
		}
	}
	w.stopHub()
}

func (w *world) startHub(first bool) {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	metrics := telemetry.NewHub(w.metrics)
	st, err := store.Open(w.t.Context(), store.Options{Dir: w.dir, Init: first, MAC: func(store.FeedRow) []byte { return []byte("mac") }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = st
	w.server, err = hubsession.New(hubsession.Config{
		Store: st, Metrics: metrics, Decode: wire.StatusFromProto, Logger: w.logger("hub"),
		Peer: func(ctx context.Context) (hubsession.Peer, error) {
			p, ok := peer.FromContext(ctx)
			if !ok {
				return hubsession.Peer{}, errors.New("no peer")
			}

			return hubsession.Peer{ClusterUID: p.Addr.String(), NotAfter: w.notAfter[p.Addr.String()]}, nil
		},
		Banned: func(p hubsession.Peer) bool {
			c, _ := st.View().Cluster(p.ClusterUID)

			return c.Banned
		},
		Gone: func(ctx context.Context, cluster, uid string, _ int32) error {
			_, err := st.Write(ctx, store.Audit{Who: "test", Verb: "gone"}, func(tx *store.Txn) error {
				tx.DropOrder(cluster, uid)

				return nil
			})

			return err
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.grpc = grpc.NewServer(hubsession.ServerOptions()...)
	agentv1.RegisterSyncServiceServer(w.grpc, w.server)
	listener := newWires()
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := st.Run(ctx); err != nil {
			w.t.Errorf("store: %v", err)
		}
	})
	wg.Go(func() { _ = w.grpc.Serve(listener) })
	w.stop = func() {
		w.grpc.Stop()
		_ = listener.Close()
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			w.t.Errorf("close store: %v", err)
		}
	}
}

func (w *world) stopHub() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *world) logger(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("who", who)
}

// start brings an agent up, on the store it had before if it had one.
func (w *world) start(cluster string) *agent {
	w.t.Helper()
	a, ok := w.agents[cluster]
	if !ok {
		a = &agent{w: w, cluster: cluster, path: filepath.Join(w.t.TempDir(), "agent.db"), rotated: make(chan struct{}, 1)}
		w.agents[cluster] = a
	}
	a.start()

	return a
}

func (a *agent) start() {
	a.w.t.Helper()
	var err error
	if a.disk, err = disk.Open(a.path, disk.Options{Create: true, Decode: wire.OrderFromBytes}); err != nil {
		a.w.t.Fatal(err)
	}
	a.client, err = agentsession.New(agentsession.Config{
		Store: a.disk, Address: "hub", Credentials: insecure.NewCredentials(), Rotated: a.rotated,
		DialContext: a.w.net.dial(a.cluster, func() *wires {
			a.w.mu.Lock()
			defer a.w.mu.Unlock()

			return a.w.listener
		}),
		Wake: a.wake, Encode: wire.StatusToProto, AgentVersion: "test", Logger: a.w.logger(a.cluster),
		Facts: func() agentsession.Facts { return agentsession.Facts{MemoryTotal: 1 << 30} },
	})
	if err != nil {
		a.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.client.Run(ctx) })
	a.stop = func() {
		cancel()
		wg.Wait()
		if err := a.disk.Close(); err != nil {
			a.w.t.Errorf("close disk: %v", err)
		}
		a.stop = nil
	}
}

func (a *agent) wake(uids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.woken = append(a.woken, uids...)
}

// wakes is who was woken since the last call.
func (a *agent) wakes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.woken
	a.woken = nil

	return out
}

func (w *world) write(fn func(*store.Txn)) {
	w.t.Helper()
	_, err := w.store.Write(w.t.Context(), store.Audit{Who: "test", Verb: "write", Object: "test"}, func(tx *store.Txn) error {
		fn(tx)

		return nil
	})
	if err != nil {
		w.t.Fatalf("write: %v", err)
	}
}

// order writes one order for a cluster.
func (w *world) order(cluster, uid string, generation, term int32) {
	w.t.Helper()
	w.write(func(tx *store.Txn) { tx.PutOrder(w.row(cluster, uid, generation, term)) })
}

func (w *world) row(cluster, uid string, generation, term int32) store.FeedRow {
	w.t.Helper()
	body, err := wire.OrderBytes(flink.Order{
		UID: uid, Tenant: "default", Name: "n-" + uid, Generation: generation, Term: term,
		Spec: flink.Spec{Cluster: cluster, State: flink.StateRunning, Parallelism: generation},
	})
	if err != nil {
		w.t.Fatal(err)
	}

	return store.FeedRow{ClusterUID: cluster, UID: uid, Generation: generation, Term: term, Body: body, Schema: wire.OrderSchema}
}

func (w *world) tombstone(cluster, uid string, term int32) {
	w.t.Helper()
	w.write(func(tx *store.Txn) {
		tx.PutOrder(store.FeedRow{ClusterUID: cluster, UID: uid, Term: term, Deleted: true, Policy: flink.DeleteCancel, Schema: wire.OrderSchema})
	})
}

// settle lets everything happen that needs no more than a moment.
func settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// generation is what the agent has in force of a job; 0: nothing.
func (a *agent) generation(uid string) int32 {
	a.w.t.Helper()
	rec, ok, err := a.disk.Load(a.w.t.Context(), uid)
	if err != nil {
		a.w.t.Fatal(err)
	}
	if !ok || rec.Order.Deleted {
		return 0
	}

	return rec.Order.Generation
}

// same fails unless hub and agent hold the same live rows (I4), everything is acked (I2), and no divergence was counted.
func (w *world) same(a *agent) {
	w.t.Helper()
	rows, _, _ := w.store.Feed(a.cluster, 0, 1<<40, false)
	var tree digest.Tree
	for _, r := range rows {
		if !r.Deleted {
			tree.Add(digest.Row{UID: r.UID, EpochNumber: r.Version.EpochNumber, Revision: int64(r.Version.Revision), Hash: r.Hash})
		}
	}
	st := a.disk.Standing()
	if root := tree.Root(); !bytes.Equal(root[:], st.Root[:]) {
		w.t.Errorf("%s: roots of hub and agent differ: agent has %d live rows, hub's feed %d", a.cluster, st.Count, len(rows))
	}
	live := w.server.Live(a.cluster)
	if !live.Up || live.Pending != 0 {
		w.t.Errorf("%s: live = %+v, want up with nothing pending", a.cluster, live)
	}
	if n := w.counter("waterwheel_hub_divergence_total"); n != 0 {
		w.t.Errorf("divergence_total = %v", n)
	}
}

func (w *world) counter(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}

			return sum
		}
	}

	return 0
}

func uid(i int) string { return fmt.Sprintf("%032x", i+1) }

// lose takes the agent's store away, as a lost disk does; its directory, and so its site, stays.
func (a *agent) lose() {
	a.w.t.Helper()
	if err := os.Remove(a.path); err != nil {
		a.w.t.Fatal(err)
	}
}
