package session

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// window is what was sent and not acked. session.mu guards it.
type window struct {
	sent    store.Revision // the agent's cursor once everything sent is recorded
	epochs  []string       // ids named in frames of this session, in order
	unacked []sentDelta    // oldest first
	bytes   int            // of them
}

type sentDelta struct {
	cursor feed.Cursor
	bytes  int
}

// tock is what the next Tock says. session.mu guards it.
type tock struct {
	due       bool
	n         int64
	root      []byte
	reportAck int64
}

// transmit is the sender, the only one that sends after the welcome. It looks at the store and sends what is newer than
// what it sent; there is no queue of rows anywhere.
func (sn *session) transmit() error {
	changed, cancel := sn.srv.cfg.Store.Subscribe(sn.peer.ClusterUID)
	defer cancel()
	told := sn.cursor.EpochID // the branch that the agent's cursor names
	for {
		if err := sn.sendTock(); err != nil {
			return err
		}
		sent, err := sn.sendDelta(&told)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		select {
		case <-sn.ctx.Done():
			return nil
		case <-changed:
		case <-sn.kick:
		}
	}
}

// sendDelta sends one frame of rows if there are any and the window is open. A cursor of an older epoch is brought into
// the current one by a frame without rows, so that it never falls out of the ancestry.
func (sn *session) sendDelta(told *string) (sent bool, err error) {
	sn.mu.Lock()
	after, open := sn.window.sent, sn.window.bytes < feed.MaxUnacked
	sn.mu.Unlock()
	if !open {
		return false, nil
	}
	rows, upTo, more := sn.srv.cfg.Store.Feed(sn.peer.ClusterUID, after, feed.FrameTarget, false)
	// Read after the feed: a revision belongs to every later epoch's history, but not to an earlier one's.
	epoch := sn.srv.cfg.Store.View().Epoch()
	if len(rows) == 0 && *told == epoch.ID {
		return false, nil
	}
	delta := agentv1.Delta_builder{Epoch: epochToProto(epoch), ToRevision: int64(upTo), Rows: rowsToProto(rows), More: more}.Build()
	m := agentv1.SyncResponse_builder{Delta: delta}.Build()
	size := proto.Size(m)
	sn.mu.Lock()
	w := &sn.window
	w.sent = upTo
	if len(w.epochs) == 0 || w.epochs[len(w.epochs)-1] != epoch.ID {
		w.epochs = append(w.epochs, epoch.ID)
	}
	if !more {
		w.unacked = append(w.unacked, sentDelta{feed.Cursor{EpochID: epoch.ID, Revision: int64(upTo)}, size})
		w.bytes += size
	}
	sn.mu.Unlock()
	if err := sn.rpc.Send(m); err != nil {
		return false, err
	}
	*told = epoch.ID
	if sn.srv.cfg.Metrics != nil {
		sn.srv.cfg.Metrics.RowsSent.Add(float64(len(rows)))
		sn.srv.cfg.Metrics.DeltasSent.Inc()
		if at := sn.srv.cfg.Store.Published(sn.peer.ClusterUID); len(rows) > 0 && rows[0].Version.Revision > sn.head && !at.IsZero() {
			sn.srv.cfg.Metrics.DispatchSeconds.Observe(time.Since(at).Seconds()) // not of what the agent missed before it came
		}
	}
	sn.srv.note(sn, func(l *Live) { l.RowsSent += int64(len(rows)) })

	return true, nil
}

func (sn *session) sendTock() error {
	sn.mu.Lock()
	t := sn.tock
	sn.tock.due = false
	sn.mu.Unlock()
	if !t.due {
		return nil
	}
	view := sn.srv.cfg.Store.View()

	return sn.rpc.Send(agentv1.SyncResponse_builder{Tock: agentv1.Tock_builder{
		N: t.n, Head: int64(view.Head()), Root: t.root, ReportAck: t.reportAck, Epoch: epochToProto(view.Epoch()),
	}.Build()}.Build())
}

// acked moves the cursor to what the agent has recorded. It must be one that was sent, and must not go back.
func (sn *session) acked(c feed.Cursor, now time.Time) error {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	if c == sn.cursor {
		return nil
	}
	w := &sn.window
	for i, d := range w.unacked {
		if d.cursor != c {
			continue
		}
		for _, done := range w.unacked[:i+1] {
			w.bytes -= done.bytes
		}
		w.unacked = w.unacked[i+1:]
		sn.cursor, sn.heard = c, now

		return nil
	}

	return badFrame("ack of revision %d in epoch %s, which does not wait for one: last was %d", c.Revision, c.EpochID, sn.cursor.Revision)
}

func rowsToProto(rows []store.FeedRow) []*agentv1.Row {
	out := make([]*agentv1.Row, 0, len(rows))
	for _, r := range rows {
		out = append(out, agentv1.Row_builder{
			Uid: r.UID, Version: agentv1.Version_builder{EpochNumber: r.Version.EpochNumber, Revision: int64(r.Version.Revision)}.Build(),
			Generation: r.Generation, Term: r.Term, Kind: agentv1.RowKind_ROW_KIND_JOB, Deleted: r.Deleted,
			DeletePolicy: string(r.Policy), Hash: r.Hash, Body: r.Body, Mac: r.MAC, Schema: r.Schema,
		}.Build())
	}

	return out
}
