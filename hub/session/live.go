package session

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// Live is what this life of the hub knows of a cluster's agent.
type Live struct {
	Up           bool      // a welcomed stream is open
	Since        time.Time // when that stream was welcomed, or the last one ended
	LastSeen     time.Time // last frame of the agent; zero: none in this life of the hub
	LastTick     time.Time
	AgentVersion string
	SiteUID      string
	Serial       string    // of the certificate that the stream stands on
	NotAfter     time.Time // of that certificate
	Cursor       feed.Cursor
	Rows         int   // live rows of the cluster
	Pending      int   // rows, tombstones included, that the agent has not acked
	Resumes      int64 // streams welcomed
	RowsSent     int64
	Dropped      int64  // statuses and nacks about jobs that are not its own
	Divergences  int64  // roots that differed at the same revision: must stay 0
	Message      string // why the last stream was refused; empty: it was not
	Flagged      bool   // a person has to look: clone, comparison needed, epoch ahead

	MemoryTotal   int64
	MemoryUsed    int64
	FlinkVersions []string
}

// site is what is kept of a cluster in memory: its session, and what remains of the last one. Server.mu guards it.
type site struct {
	current       *session
	supersessions []time.Time // by another instance
	live          Live
}

func (st *site) begun(sn *session, now time.Time) {
	l := &st.live
	l.Since, l.LastSeen = now, now
	l.AgentVersion, l.SiteUID = bounded(sn.hello.GetAgentVersion(), versionText), sn.hello.GetSiteUid()
	l.Serial, l.NotAfter = sn.peer.Serial, sn.peer.NotAfter
	l.Cursor = sn.cursor
	l.Resumes++
	l.Message, l.Flagged = "", false
}

// Live tells what is known of a cluster. The zero Live, but for its counts of rows, if it never came.
func (s *Server) Live(clusterUID string) Live {
	s.mu.Lock()
	var l Live
	if st, ok := s.sites[clusterUID]; ok {
		l = st.live
		l.Up = st.current != nil
		l.FlinkVersions = slices.Clone(l.FlinkVersions)
	}
	s.mu.Unlock()
	_, l.Rows = s.cfg.Store.FeedState(clusterUID)
	rows, _, _ := s.cfg.Store.Feed(clusterUID, store.Revision(l.Cursor.Revision), maxFeed, false)
	l.Pending = len(rows)

	return l
}

// maxFeed asks the feed for everything.
const maxFeed = 1 << 40

// note changes what is known of a session's cluster, if it still is the cluster's session.
func (s *Server) note(sn *session, fn func(*Live)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.site(sn.peer.ClusterUID); st.current == sn {
		fn(&st.live)
	}
}

// flag keeps why a stream was refused. A running session of the cluster is not touched.
func (s *Server) flag(clusterUID string, err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sites[clusterUID]; !known {
		if _, known = s.cfg.Store.View().Cluster(clusterUID); !known {
			return
		}
	}
	l := &s.site(clusterUID).live
	l.Message = r.text
	switch r.reason {
	case agentv1.RefusalReason_REFUSAL_REASON_CLONE, agentv1.RefusalReason_REFUSAL_REASON_EPOCH_AHEAD,
		agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED:
		l.Flagged = true
	default:
		l.Flagged = l.Flagged || r.code == codes.FailedPrecondition
	}
}
