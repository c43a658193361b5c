package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// Server is the hub's end of all streams. It implements agentv1.SyncServiceServer; its methods may be called from any
// goroutine.
type Server struct {
	agentv1.UnimplementedSyncServiceServer

	cfg Config
	log *slog.Logger

	draining context.Context // ends with Drain
	drain    context.CancelFunc

	mu    sync.Mutex // guards sites and what is in them
	sites map[string]*site
}

type syncStream = grpc.BidiStreamingServer[agentv1.SyncRequest, agentv1.SyncResponse]

// New makes a server.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, sites: map[string]*site{}}
	s.draining, s.drain = context.WithCancel(context.Background())

	return s, nil
}

// Drain ends all streams, and refuses new ones, with the word to come back soon: before a planned restart.
func (s *Server) Drain() { s.drain() }

// Sync is one stream, from Hello to its end.
func (s *Server) Sync(rpc syncStream) error {
	err := s.serve(rpc)
	if r, ok := errors.AsType[*refusal](err); ok && r.reason != agentv1.RefusalReason_REFUSAL_REASON_SUPERSEDED {
		s.log.Info("stream refused or ended", telemetry.KeyCode, r.code.String(), "reason", r.reason.String(), telemetry.KeyError, r.text)
	}

	return err
}

func (s *Server) serve(rpc syncStream) error {
	peer, err := s.cfg.Peer(rpc.Context())
	if err != nil {
		return refuse(codes.Unauthenticated, agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED, "no identity: %v", err)
	}
	if err := s.allowed(peer); err != nil {
		return err
	}
	hello, err := s.hello(rpc)
	if err != nil {
		return err
	}
	dec, err := s.admit(rpc.Context(), peer, hello)
	if err != nil {
		s.flag(peer.ClusterUID, err)

		return err
	}
	sn := newSession(s, rpc, peer, hello, dec)
	if err := s.take(rpc.Context(), sn); err != nil {
		s.flag(peer.ClusterUID, err)

		return err
	}
	defer s.leave(sn)

	return sn.run()
}

// allowed is what is checked before and again while a stream lives.
func (s *Server) allowed(p Peer) error {
	switch {
	case s.draining.Err() != nil:
		return draining()
	case !p.NotAfter.IsZero() && !time.Now().Before(p.NotAfter):
		return expired()
	case s.cfg.Banned(p):
		return banned()
	}

	return nil
}

// hello is the first frame, which must come soon.
func (s *Server) hello(rpc syncStream) (*agentv1.Hello, error) {
	type first struct {
		m   *agentv1.SyncRequest
		err error
	}
	got := make(chan first, 1)
	go func() {
		m, err := rpc.Recv()
		got <- first{m, err}
	}()
	late := time.NewTimer(helloWithin)
	defer late.Stop()
	select {
	case <-late.C:
		return nil, badFrame("no Hello within %s", helloWithin)
	case <-s.draining.Done():
		return nil, draining()
	case f := <-got:
		h := f.m.GetHello()
		switch {
		case f.err != nil:
			return nil, f.err
		case h == nil:
			return nil, badFrame("the first frame is %d, want a Hello", f.m.WhichFrame())
		case h.GetVersion()/1000 != feed.ProtocolVersion/1000:
			return nil, refuse(codes.Unimplemented, agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED,
				"protocol version %d is not spoken here, want %d.x", h.GetVersion(), feed.ProtocolVersion/1000)
		case h.GetSiteUid() == "" || h.GetInstanceId() == "" || len(h.GetSiteUid()) > 128 || len(h.GetInstanceId()) > 128:
			return nil, badFrame("a Hello needs site_uid and instance_id")
		}

		return h, nil
	}
}

// admit checks the place and decides how to begin.
func (s *Server) admit(ctx context.Context, p Peer, h *agentv1.Hello) (decision, error) {
	cluster, ok := s.cfg.Store.View().Cluster(p.ClusterUID)
	switch {
	case !ok || cluster.State == store.ClusterRemoved:
		return decision{}, banned()
	case cluster.SiteUID == "":
		if err := s.recordSite(ctx, p, h.GetSiteUid()); err != nil {
			return decision{}, err
		}
	case cluster.SiteUID != h.GetSiteUid():
		return decision{}, clone("this identity belongs to site %s, and site %s shows it: a clone, or a directory that was made anew; remove the cluster and invite it again if the old site is gone",
			cluster.SiteUID, h.GetSiteUid())
	}
	g := greeting{Count: int(h.GetCount()), MaxEpoch: h.GetMaxEpochNumber()}
	if c := h.GetCursor(); c != nil {
		g.Cursor = feed.Cursor{EpochID: c.GetEpochId(), Revision: c.GetRevision()}
	}
	dec := begin(g, s.cfg.Store.Ancestry(), time.Now())
	if dec.Verdict == raiseEpoch {
		epoch, err := s.cfg.Store.EpochAtLeast(ctx, g.MaxEpoch)
		switch {
		case errors.Is(err, store.ErrEpochAhead):
			dec = decision{Verdict: epochAhead, Why: err.Error()}
		case err != nil:
			return decision{}, unavailable("begin a later epoch", err)
		default:
			s.log.Warn("agent has seen a later epoch than this hub: a new one was begun", telemetry.KeyCluster, p.ClusterUID,
				telemetry.KeyEpoch, epoch.Number)
			dec = begin(g, s.cfg.Store.Ancestry(), time.Now())
		}
	}
	switch dec.Verdict {
	case resume:
		return dec, nil
	case epochAhead:
		return decision{}, refuse(codes.FailedPrecondition, agentv1.RefusalReason_REFUSAL_REASON_EPOCH_AHEAD, "%s", dec.Why)
	default:
		return decision{}, refuse(codes.Unimplemented, agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED,
			"the records of hub and agent have to be compared, which is not built yet: %s; its jobs run on", dec.Why)
	}
}

// recordSite ties an identity to the first place that shows it.
func (s *Server) recordSite(ctx context.Context, p Peer, site string) error {
	audit := store.Audit{Who: "cluster/" + p.ClusterUID, Verb: "record-site", Object: "cluster/" + p.ClusterUID, Detail: site}
	_, err := s.cfg.Store.Write(ctx, audit, func(tx *store.Txn) error {
		c, ok := tx.Cluster(p.ClusterUID)
		switch {
		case !ok:
			return banned()
		case c.SiteUID == "":
			c.SiteUID = site
			tx.PutCluster(c)
		case c.SiteUID != site:
			return clone("this identity belongs to site %s", c.SiteUID)
		}

		return nil
	})
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if err != nil {
		return unavailable("record the site", err)
	}

	return nil
}

// take makes sn the cluster's session. An older one is ended, and its last report is over before take returns.
func (s *Server) take(ctx context.Context, sn *session) error {
	s.mu.Lock()
	st := s.site(sn.peer.ClusterUID)
	old := st.current
	now := time.Now()
	st.supersessions = slices.DeleteFunc(st.supersessions, func(at time.Time) bool { return now.Sub(at) > supersedeWindow })
	if old != nil && old.instance != sn.instance {
		st.supersessions = append(st.supersessions, now)
		if len(st.supersessions) > supersedeMax {
			st.supersessions = st.supersessions[1:] // bounded, and still in the window
			s.mu.Unlock()

			return clone("two agents show this identity and supersede each other: find the clone and stop it; this refusal ends %s after the last try", supersedeWindow)
		}
	}
	st.current = sn
	st.begun(sn, now)
	s.mu.Unlock()
	if s.cfg.Metrics != nil {
		s.cfg.Metrics.Sessions.Inc()
	}
	if old == nil {
		return nil
	}
	old.end(superseded())
	select {
	case <-old.done:
		return nil
	case <-ctx.Done():
		s.leave(sn)

		return fmt.Errorf("wait for the older session to end: %w", ctx.Err())
	}
}

func (s *Server) leave(sn *session) {
	s.mu.Lock()
	if st := s.site(sn.peer.ClusterUID); st.current == sn {
		st.current = nil
	}
	s.mu.Unlock()
	if s.cfg.Metrics != nil {
		s.cfg.Metrics.Sessions.Dec()
	}
}

// site is what is kept of a cluster; the caller holds mu.
func (s *Server) site(clusterUID string) *site {
	st, ok := s.sites[clusterUID]
	if !ok {
		st = new(site)
		s.sites[clusterUID] = st
	}

	return st
}

func token() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(fmt.Sprintf("session: no randomness: %v", err))
	}

	return hex.EncodeToString(b[:])
}
