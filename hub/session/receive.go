package session

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// receive is the receiver: it takes what the agent says, and never sends.
func (sn *session) receive() error {
	for {
		m, err := sn.rpc.Recv()
		if err != nil {
			return err
		}
		now := time.Now()
		sn.mu.Lock()
		sn.heard = now
		sn.mu.Unlock()
		sn.srv.note(sn, func(l *Live) { l.LastSeen = now })
		switch frame := m.WhichFrame(); frame {
		case agentv1.SyncRequest_Ack_case:
			err = sn.ack(m.GetAck(), now)
		case agentv1.SyncRequest_Report_case:
			err = sn.report(m.GetReport(), now)
		case agentv1.SyncRequest_Tick_case:
			err = sn.tick(m.GetTick(), now)
		case agentv1.SyncRequest_Buckets_case, agentv1.SyncRequest_List_case:
			err = refuse(codes.Unimplemented, agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED, "comparing is not built yet")
		default:
			err = badFrame("frame %d is not expected here", frame)
		}
		if err != nil {
			return err
		}
	}
}

// ack opens the window and stores what the agent refused.
func (sn *session) ack(a *agentv1.Ack, now time.Time) error {
	if sn.srv.cfg.Metrics != nil {
		sn.srv.cfg.Metrics.Acks.Inc()
	}
	if err := sn.nacks(a.GetNacks(), now); err != nil {
		return err
	}
	c := feed.Cursor{EpochID: a.GetCursor().GetEpochId(), Revision: a.GetCursor().GetRevision()}
	if err := sn.acked(c, now); err != nil {
		return err
	}
	sn.srv.note(sn, func(l *Live) { l.Cursor = c })
	sn.look()

	return nil
}

func (sn *session) nacks(in []*agentv1.Nack, now time.Time) error {
	if len(in) == 0 {
		return nil
	}
	view := sn.srv.cfg.Store.View()
	out := make(map[string]store.Nack, len(in))
	for _, n := range in {
		if _, own := view.Order(sn.peer.ClusterUID, n.GetUid()); !own {
			sn.dropped("nack", n.GetUid())
			continue
		}
		out[n.GetUid()] = store.Nack{
			Version: store.Version{EpochNumber: n.GetVersion().GetEpochNumber(), Revision: store.Revision(n.GetVersion().GetRevision())},
			Code:    bounded(n.GetCode(), 64), Class: bounded(n.GetClass(), 64), Text: bounded(n.GetText(), nackText), At: now,
		}
		if sn.srv.cfg.Metrics != nil {
			sn.srv.cfg.Metrics.Nacks.Inc(bounded(n.GetCode(), 64))
		}
		sn.srv.log.Warn("row refused by agent", telemetry.KeyCluster, sn.peer.ClusterUID, telemetry.KeyUID, n.GetUid(),
			telemetry.KeyCode, n.GetCode(), "why", bounded(n.GetText(), nackText))
	}
	if err := sn.srv.cfg.Store.PutNacks(sn.ctx, sn.peer.ClusterUID, out); err != nil {
		return unavailable("keep nacks", err)
	}

	return nil
}

// report keeps statuses; the durable ones are on disk before their ack is due.
func (sn *session) report(r *agentv1.Report, now time.Time) error {
	switch {
	case r.GetSeq() <= sn.reportSeq:
		return badFrame("report %d after report %d", r.GetSeq(), sn.reportSeq)
	case len(r.GetStatuses()) > reportRows:
		return badFrame("report of %d statuses, at most %d", len(r.GetStatuses()), reportRows)
	}
	sn.reportSeq = r.GetSeq()
	if c := r.GetCluster(); c != nil {
		sn.srv.note(sn, func(l *Live) {
			l.MemoryTotal, l.MemoryUsed = max(0, c.GetMemoryTotal()), max(0, c.GetMemoryUsed())
			l.FlinkVersions = versions(c.GetFlinkVersions())
		})
	}
	rows, gone := sn.statuses(r.GetStatuses(), now)
	if len(rows) > 0 {
		if err := sn.srv.cfg.Store.PutStatuses(sn.ctx, sn.peer.ClusterUID, rows, r.GetDurable() || len(gone) > 0); err != nil {
			return unavailable("keep statuses", err)
		}
	}
	for _, row := range gone {
		if err := sn.srv.cfg.Gone(sn.ctx, sn.peer.ClusterUID, row.JobUID, row.Term); err != nil {
			return unavailable(fmt.Sprintf("drop job %s, which is gone", row.JobUID), err)
		}
	}
	sn.mu.Lock()
	sn.tock.reportAck = r.GetSeq()
	sn.tock.due = sn.tock.due || r.GetDurable()
	sn.mu.Unlock()
	if r.GetDurable() {
		sn.look()
	}

	return nil
}

// statuses are those about jobs that the cluster holds, and of them the deleted ones of which nothing is left. Others
// are dropped and counted: an agent has no say about them.
func (sn *session) statuses(in []*agentv1.JobReport, now time.Time) (rows, gone []store.StatusRow) {
	view := sn.srv.cfg.Store.View()
	for _, j := range in {
		order, own := view.Order(sn.peer.ClusterUID, j.GetUid())
		if !own || j.GetTerm() > order.Term {
			sn.dropped("status", j.GetUid())
			continue
		}
		st := sn.srv.cfg.Decode(j.GetUid(), j.GetStatus())
		st.Term, st.Message = j.GetTerm(), bounded(st.Message, statusText)
		row := store.StatusRow{ClusterUID: sn.peer.ClusterUID, JobUID: j.GetUid(), Term: j.GetTerm(), Status: st, ReceivedAt: now}
		rows = append(rows, row)
		if st.Gone && order.Deleted && order.Term == j.GetTerm() {
			gone = append(gone, row)
		}
	}

	return rows, gone
}

func (sn *session) dropped(what, uid string) {
	sn.srv.note(sn, func(l *Live) { l.Dropped++ })
	sn.srv.log.Debug("dropped: not a job of this cluster", "what", what, telemetry.KeyCluster, sn.peer.ClusterUID, telemetry.KeyUID, bounded(uid, 64))
}

// tick compares roots when both ends stand at the same place, and has a Tock sent.
func (sn *session) tick(t *agentv1.Tick, now time.Time) error {
	if len(t.GetLeaseAsks()) > 0 {
		return refuse(codes.Unimplemented, agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED, "leases are not built yet")
	}
	root := sn.digest.at(sn.srv.cfg.Store, sn.peer.ClusterUID, store.Revision(t.GetCursor().GetRevision()))
	if root != nil && !bytes.Equal(root, t.GetRoot()) {
		if sn.srv.cfg.Metrics != nil {
			sn.srv.cfg.Metrics.Divergence.Inc()
		}
		sn.srv.note(sn, func(l *Live) { l.Divergences++ })
		sn.srv.log.Error("records of hub and agent differ at the same revision", telemetry.KeyCluster, sn.peer.ClusterUID,
			telemetry.KeyRevision, t.GetCursor().GetRevision())
	}
	sn.srv.note(sn, func(l *Live) { l.LastTick = now })
	sn.mu.Lock()
	sn.tock.due, sn.tock.n, sn.tock.root = true, t.GetN(), root
	sn.mu.Unlock()
	sn.look()

	return nil
}

// rootCache is the root of a cluster's live rows as of some revision.
type rootCache struct {
	root   []byte
	upTo   store.Revision // nothing newer was in the feed then
	newest store.Revision // of any row then
}

// at is the root if no row of the cluster is newer than the cursor, else nil: the agent cannot have it yet.
func (c *rootCache) at(st *store.Store, clusterUID string, cursor store.Revision) []byte {
	if c.root == nil || !unchanged(st, clusterUID, c.upTo) {
		rows, upTo, _ := st.Feed(clusterUID, 0, maxFeed, false)
		var tree digest.Tree
		for _, r := range rows {
			if !r.Deleted {
				tree.Add(digest.Row{UID: r.UID, EpochNumber: r.Version.EpochNumber, Revision: int64(r.Version.Revision), Hash: r.Hash})
			}
		}
		root := tree.Root()
		c.root, c.upTo, c.newest = root[:], upTo, 0
		if n := len(rows); n > 0 {
			c.newest = rows[n-1].Version.Revision
		}
	}
	if cursor < c.newest {
		return nil
	}

	return c.root
}

// unchanged reports whether no row was written after a revision. A tombstone that was dropped changes no root.
func unchanged(st *store.Store, clusterUID string, after store.Revision) bool {
	rows, _, _ := st.Feed(clusterUID, after, 1, false)

	return len(rows) == 0
}

// versions is what is kept of the Flink versions that an agent says it has.
func versions(in []string) []string {
	out := make([]string, 0, min(len(in), maxVersions))
	for _, v := range in[:min(len(in), maxVersions)] {
		out = append(out, bounded(v, versionText))
	}

	return out
}

func bounded(s string, n int) string {
	if len(s) <= n {
		return s
	}

	return strings.ToValidUTF8(s[:n], "")
}
