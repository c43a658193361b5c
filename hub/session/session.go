package session

import (
	"context"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// session is one welcomed stream: a receiver and a sender goroutine, and the handler's own, which waits for a reason to
// end. gRPC unblocks the other two when the handler returns.
type session struct {
	srv      *Server
	rpc      syncStream
	peer     Peer
	hello    *agentv1.Hello
	instance string
	id       string

	ctx  context.Context // the session's own
	end  context.CancelCauseFunc
	done chan struct{}  // closed when receiver and sender are over
	kick chan struct{}  // size 1: the sender should look again
	head store.Revision // of the log when the stream began

	// Owned by the receiver.
	reportSeq int64
	digest    rootCache

	mu     sync.Mutex  // guards what follows
	cursor feed.Cursor // acked, or from the Hello
	window window
	tock   tock
	heard  time.Time
}

func newSession(s *Server, rpc syncStream, p Peer, h *agentv1.Hello, dec decision) *session {
	sn := &session{
		srv: s, rpc: rpc, peer: p, hello: h, instance: h.GetInstanceId(), id: token(),
		done: make(chan struct{}), kick: make(chan struct{}, 1), heard: time.Now(),
	}
	if c := h.GetCursor(); c != nil {
		sn.cursor = feed.Cursor{EpochID: c.GetEpochId(), Revision: c.GetRevision()}
	}
	sn.window.sent = dec.From
	sn.ctx, sn.end = context.WithCancelCause(rpc.Context())

	return sn
}

// run welcomes the agent and serves it until something ends the stream; that is the error it returns.
func (sn *session) run() error {
	var wg sync.WaitGroup
	defer func() {
		sn.end(nil)
		go func() {
			wg.Wait()
			close(sn.done)
		}()
	}()
	epoch, head := sn.srv.cfg.Store.View().Epoch(), sn.srv.cfg.Store.View().Head()
	sn.head = head
	welcome := agentv1.Welcome_builder{
		Session: sn.id, Epoch: epochToProto(epoch), Head: int64(head), Mode: agentv1.Mode_MODE_RESUME,
		ReportFrom: sn.hello.GetReportSeq(),
		Limits: agentv1.Limits_builder{
			MaxMessageBytes: feed.MaxMessage, MaxUnackedBytes: feed.MaxUnacked, MaxSpecBytes: feed.MaxSpec,
			TickSeconds: int32(feed.TickEvery / time.Second),
		}.Build(),
	}.Build()
	if err := sn.rpc.Send(agentv1.SyncResponse_builder{Welcome: welcome}.Build()); err != nil {
		return err
	}
	sn.srv.log.Info("agent connected", telemetry.KeyCluster, sn.peer.ClusterUID, "session", sn.id,
		telemetry.KeyRevision, int64(sn.window.sent))
	wg.Go(func() { sn.end(sn.receive()) })
	wg.Go(func() { sn.end(sn.transmit()) })

	return sn.watch()
}

// watch waits for a reason to end the stream.
func (sn *session) watch() error {
	changed, cancel := sn.srv.cfg.Store.Subscribe(sn.peer.ClusterUID)
	defer cancel()
	again := time.NewTicker(banEvery)
	defer again.Stop()
	var lifetime <-chan time.Time
	if !sn.peer.NotAfter.IsZero() {
		timer := time.NewTimer(time.Until(sn.peer.NotAfter))
		defer timer.Stop()
		lifetime = timer.C
	}
	for {
		// Before each wait, the first too: a ban since the greeting was checked woke nobody.
		if err := sn.srv.allowed(sn.peer); err != nil {
			return err
		}
		select {
		case <-sn.ctx.Done():
			return context.Cause(sn.ctx)
		case <-sn.srv.draining.Done():
		case <-lifetime:
		case <-changed:
		case <-again.C:
			sn.mu.Lock()
			silent := time.Since(sn.heard)
			sn.mu.Unlock()
			if silent > silentAfter {
				return unavailable("agent is silent", context.DeadlineExceeded)
			}
		}
	}
}

func (sn *session) look() {
	select {
	case sn.kick <- struct{}{}:
	default:
	}
}

func epochToProto(e store.Epoch) *agentv1.Epoch {
	return agentv1.Epoch_builder{Number: e.Number, Id: e.ID}.Build()
}
