package admin

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/wire"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

const codeNotFound = connect.CodeNotFound

// The freshnesses of a status.
const (
	Live   = "live"   // the session is up and was heard of within LiveFor
	Stale  = "stale"  // not so: it may have changed since
	Frozen = "frozen" // the cluster was removed: the last words there are
)

// LiveFor is how old the last frame of a session may be for its statuses to be live.
const LiveFor = time.Minute

// Freshness says how much the statuses of a cluster are worth at now.
func Freshness(c store.Cluster, s Session, now time.Time) string {
	switch {
	case c.State == store.ClusterRemoved || c.Banned:
		return Frozen
	case s.Up && now.Sub(s.LastSeen) <= LiveFor:
		return Live
	default:
		return Stale
	}
}

// show is a job as it stands after a write.
func (s *service) show(job store.Job) *flinkv1.Job {
	view := s.cfg.Store.View()

	return s.showAt(&view, job)
}

// showAt is a job with its status: the agent's newest word on it, and what the hub adds.
func (s *service) showAt(view *store.View, job store.Job) *flinkv1.Job {
	a, _ := view.Assignment(job.UID)
	c, _ := view.Cluster(a.ClusterUID)
	row, said := s.cfg.Store.Status(job.UID)
	if said && row.Term < a.Term {
		said = false // the last holder's word is not this one's
	}
	fresh := Freshness(c, s.cfg.Session(a.ClusterUID), time.Now())
	var p *flinkv1.JobStatus
	if said && row.Status.State != "" {
		p = wire.StatusToProto(row.Status)
	} else {
		p = unheard(job, c)
	}
	p.SetCluster(c.Name)
	p.SetTerm(a.Term)
	p.SetFreshness(fresh)
	if fresh != Live {
		doubt(p, fresh)
	}
	if said && row.Nack != nil {
		p.SetNack(nackToProto(row.Nack))
	}

	return wire.JobToProto(job.Job, strconv.FormatInt(int64(job.Revision), 10), job.DeletedAt, p)
}

// unheard is the status of a job that no agent has said anything about.
func unheard(job store.Job, c store.Cluster) *flinkv1.JobStatus {
	state := flink.Pending
	message := fmt.Sprintf("Waiting for the agent of %s to take the order", c.Name)
	if c.State == store.ClusterInvited {
		message = fmt.Sprintf("Waiting for the agent of %s to join", c.Name)
	}
	if job.Deleting {
		state = flink.Deleting
	}

	return flinkv1.JobStatus_builder{
		State: string(state), Message: message,
		Conditions: []*flinkv1.Condition{flinkv1.Condition_builder{
			Type: flink.ConditionReady, Status: flink.False, Reason: "NotReported", Message: message,
			LastTransitionTime: stamp(job.CreatedAt),
		}.Build()},
	}.Build()
}

// doubt takes a status that is not live for what it is: a job that was ready may not be any more.
func doubt(p *flinkv1.JobStatus, fresh string) {
	for _, c := range p.GetConditions() {
		if c.GetType() != flink.ConditionReady || c.GetStatus() != flink.True {
			continue
		}
		c.SetStatus(flink.UnknownStatus)
		c.SetReason(string(bytes.ToUpper([]byte(fresh[:1]))) + fresh[1:])
		c.SetMessage("Was ready when last heard of")
	}
}

func nackToProto(n *store.Nack) *flinkv1.Nack {
	return flinkv1.Nack_builder{Code: n.Code, Class: n.Class, Text: n.Text, At: stamp(n.At)}.Build()
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}

	return timestamppb.New(t)
}
