package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// stream is one welcomed stream on a connection of its own. A receiver and a sender goroutine live in it; nothing
// outlives it.
type stream struct {
	c       *Client
	conn    *grpc.ClientConn
	rpc     grpc.BidiStreamingClient[agentv1.SyncRequest, agentv1.SyncResponse]
	ctx     context.Context // the stream's own
	cancel  context.CancelCauseFunc
	session string
	epoch   feed.Epoch

	silence *time.Timer // ends the stream when no Tock comes
	wg      sync.WaitGroup
	done    chan struct{}
	err     error // why it ended; set before done is closed

	acks acks
	out  outbox
}

// open dials, greets and waits for the welcome.
func (c *Client) open(ctx context.Context) (*stream, error) {
	conn, err := c.dial()
	if err != nil {
		return nil, fmt.Errorf("dial hub: %w", err)
	}
	sctx, cancel := context.WithCancelCause(ctx)
	s := &stream{c: c, conn: conn, ctx: sctx, cancel: cancel, done: make(chan struct{})}
	late := time.AfterFunc(welcomeAfter, func() { cancel(errNotWelcome) })
	err = s.greet()
	if !late.Stop() && err == nil {
		err = errNotWelcome
	}
	if err != nil {
		if cause := context.Cause(sctx); cause != nil {
			err = cause
		}
		cancel(err)
		_ = conn.Close()

		return nil, err
	}

	return s, nil
}

func (c *Client) dial() (*grpc.ClientConn, error) {
	target := "dns:///" + c.cfg.Address
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(c.cfg.Credentials),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: feed.PingEvery, Timeout: feed.PingTimeout, PermitWithoutStream: true,
		}),
		grpc.WithReadBufferSize(0),
		grpc.WithStaticStreamWindowSize(feed.StreamWindow),
		grpc.WithStaticConnWindowSize(feed.ConnWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(feed.MaxMessage), grpc.MaxCallSendMsgSize(feed.MaxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithUserAgent("waterwheel-agent/" + c.cfg.AgentVersion),
	}
	if c.cfg.DialContext != nil {
		target = "passthrough:///" + c.cfg.Address
		opts = append(opts, grpc.WithContextDialer(c.cfg.DialContext))
	}

	return grpc.NewClient(target, opts...)
}

// greet says Hello and takes the Welcome. A writer older than one already seen is refused here.
func (s *stream) greet() error {
	rpc, err := agentv1.NewSyncServiceClient(s.conn).Sync(s.ctx)
	if err != nil {
		return err
	}
	s.rpc = rpc
	st := s.c.cfg.Store.Standing()
	hello := agentv1.Hello_builder{
		Version: feed.ProtocolVersion, AgentVersion: s.c.cfg.AgentVersion, SiteUid: st.SiteUID,
		InstanceId: s.c.instance, SessionNonce: nonce(), Cursor: cursorToProto(st.Cursor),
		MaxEpochNumber: st.MaxEpoch, Root: st.Root[:], Count: int32(min(st.Count, 1<<30)),
	}.Build()
	if err := rpc.Send(agentv1.SyncRequest_builder{Hello: hello}.Build()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	m, err := rpc.Recv() // has the status if the stream is over already
	if err != nil {
		return err
	}
	w := m.GetWelcome()
	if w == nil || w.GetMode() != agentv1.Mode_MODE_RESUME {
		return fmt.Errorf("%w: answer to Hello is frame %d in mode %s", errBadFrame, m.WhichFrame(), w.GetMode())
	}
	// The ack of a row that was refused may have been lost: the refusals are said again.
	s.acks.cursor = st.Cursor
	if nacks := s.c.cfg.Store.Rejected(); len(nacks) > 0 && !st.Cursor.IsZero() {
		s.acks.add(st.Cursor, nacks, 0, time.Now())
	}
	s.session, s.epoch = w.GetSession(), epochFromProto(w.GetEpoch())
	if _, err := s.c.cfg.Store.Record(s.ctx, feed.Frame{Epoch: s.epoch}); err != nil {
		return fmt.Errorf("note the hub's epoch: %w", err)
	}

	return nil
}

// start runs the stream's goroutines. The stream ends when one of them fails, or with stop.
func (s *stream) start() {
	s.c.connected(s)
	s.out = newOutbox(s.c)
	s.silence = time.AfterFunc(feed.DeadAfter*feed.TickEvery+feed.TickEvery/3, func() { s.cancel(errSilent) })
	s.wg.Go(func() { s.cancel(s.receive()) })
	s.wg.Go(func() { s.cancel(s.transmit()) })
	go func() {
		s.wg.Wait()
		s.silence.Stop()
		s.err = context.Cause(s.ctx)
		_ = s.conn.Close()
		close(s.done)
	}()
}

// stop ends the stream for a reason of our own.
func (s *stream) stop(cause error) { s.cancel(cause) }

// wait returns why the stream ended, when everything of it has.
func (s *stream) wait() error {
	<-s.done

	return s.err
}

// send is called by the sender alone. When the stream is over it waits for the receiver to read why.
func (s *stream) send(m *agentv1.SyncRequest) error {
	err := s.rpc.Send(m)
	if errors.Is(err, io.EOF) {
		<-s.ctx.Done()

		return context.Cause(s.ctx)
	}

	return err
}

// receive is the receiver: it records, and never sends.
func (s *stream) receive() error {
	for {
		m, err := s.rpc.Recv()
		if err != nil {
			return err
		}
		s.c.heard()
		switch frame := m.WhichFrame(); frame {
		case agentv1.SyncResponse_Delta_case:
			err = s.record(m.GetDelta(), proto.Size(m))
		case agentv1.SyncResponse_Tock_case:
			err = s.tock(m.GetTock())
		default:
			err = fmt.Errorf("%w: %d", errBadFrame, frame)
		}
		if err != nil {
			return err
		}
	}
}

// record makes a Delta durable, then has it acked, then wakes the planner.
func (s *stream) record(d *agentv1.Delta, size int) error {
	f := frameFromProto(d)
	got, err := s.c.cfg.Store.Record(s.ctx, f)
	if err != nil {
		return fmt.Errorf("record delta to revision %d: %w", d.GetToRevision(), err)
	}
	// The store's cursor may be ahead of this stream's, while a certificate is rotated: only what came here is acked here.
	s.acks.add(f.Cursor, got.Nacks, size, time.Now())
	s.c.look()
	if len(got.Nacks) > 0 {
		s.c.log.Info("rows refused", telemetry.KeyRows, len(got.Nacks), telemetry.KeyUID, got.Nacks[0].UID,
			"why", got.Nacks[0].Text)
	}
	if s.c.cfg.Metrics != nil {
		s.c.cfg.Metrics.RecordedRows.Set(float64(s.c.cfg.Store.Standing().Count))
	}
	if len(got.Changed) > 0 {
		s.c.cfg.Wake(got.Changed)
	}

	return nil
}

// tock settles what the hub acked.
func (s *stream) tock(t *agentv1.Tock) error {
	if n := t.GetEpoch().GetNumber(); n < s.epoch.Number {
		return fmt.Errorf("tock of epoch %d in a session of epoch %d: %w", n, s.epoch.Number, feed.ErrFenced)
	}
	s.silence.Reset(feed.DeadAfter*feed.TickEvery + feed.TickEvery/3)
	done := s.out.acked(t.GetReportAck())
	if len(done) == 0 {
		return nil
	}
	forgotten, err := s.c.cfg.Store.Settle(s.ctx, done)
	if err != nil {
		return fmt.Errorf("settle reports up to %d: %w", t.GetReportAck(), err)
	}
	s.c.forget(forgotten)

	return nil
}
