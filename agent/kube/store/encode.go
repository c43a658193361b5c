package store

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// Sizes that keep an object below what the API server's store takes (1.5 MiB), whatever a job's order is.
const (
	readable  = 64 << 10 // a larger order is not shown to people
	plain     = 64 << 10 // a larger memory is compressed
	memoryMax = 4 << 20  // of a memory that is unpacked
	messages  = 4 << 10  // bytes of a message that people see
)

// What stands in the column HUB.
const (
	hubAcked  = "Acked"
	hubUnsent = "Unsent"
)

// conditionRejected says that the newest order, or the object itself, cannot be used.
const conditionRejected = "Rejected"

// encodeSpec is the spec of a job on record. spec.order is what order says, nil for nothing.
func (b *backend) encodeSpec(uid string, j records.Job) spec {
	s := spec{UID: uid, Site: b.site, Body: j.Body}
	r := j.Row
	if r == nil {
		return b.sealed(s)
	}
	s.Received = &received{
		Epoch: r.Version.EpochNumber, Revision: r.Version.Revision, Generation: r.Generation, Term: r.Term,
		Kind: r.Kind, Schema: r.Schema, Deleted: r.Deleted, Policy: string(r.Policy), Hash: r.Hash, MAC: r.MAC,
	}
	if r.Rejected != nil {
		s.Rejected = new(rejected(*r.Rejected))
	}
	if a := r.Active; a != nil {
		s.InForce = &inForce{Generation: a.Generation, Term: a.Term, Deleted: a.Deleted, Policy: string(a.Policy)}
		b.describe(&s)
	}

	return b.sealed(s)
}

// describe adds what people read of the order in force.
func (b *backend) describe(s *spec) {
	if s.InForce.Deleted {
		s.Desired = "deleted"
	}
	if len(s.Body) == 0 {
		return
	}
	o, err := b.o.Decode(slices.Clone(s.Body))
	if err != nil {
		return // an agent of an older version; the body stands
	}
	s.Job, s.Tenant, s.Name = o.Tenant+"/"+o.Name, o.Tenant, o.Name
	s.Desired = cmp.Or(s.Desired, o.Spec.State, flink.StateRunning)
	if b.o.Readable == nil || len(s.Body) > readable {
		return
	}
	if t, err := b.o.Readable(o.Spec); err != nil || json.Unmarshal(t, &s.Order) != nil {
		s.Order = nil
	}
}

func (b *backend) sealed(s spec) spec {
	s.Writer = b.writer
	s.Checksum = s.seal()

	return s
}

// encodeStatus is the status of a job on record. What people see comes from the newest report of the planner, or stays.
func encodeStatus(j records.Job, st *flink.Status, was status, now time.Time) (status, error) {
	s := status{shown: was.shown}
	if st != nil {
		s.shown = show(*st)
	}
	s.Conditions = slices.Clone(s.Conditions)
	s.Hub = hubAcked
	if j.Report != nil {
		s.Hub = hubUnsent
		s.Agent.Report = string(records.Marshal(j.Report))
	}
	meta.RemoveStatusCondition(&s.Conditions, conditionRejected)
	if s.Situation == situationRejected {
		s.Situation, s.Message = "", ""
	}
	if j.Row != nil && j.Row.Rejected != nil {
		reject(&s, was, reasonOf(j.Row.Rejected.Code), j.Row.Rejected.Text, now)
	}
	if j.Row != nil && j.Row.Removed && j.Row.Active != nil {
		s.Agent.Removed = j.Row.Active.Term
	}
	switch {
	case len(j.Memory) <= plain:
		s.Agent.Memory = string(j.Memory)
	default:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(j.Memory)
		if err := errors.Join(err, z.Close()); err != nil {
			return status{}, fmt.Errorf("compress memory: %w", err)
		}
		s.Agent.MemoryGzip = b.Bytes()
	}

	return s, nil
}

// reject adds the condition Rejected, with the time at which it began.
func reject(s *status, was status, reason, message string, now time.Time) {
	c := metav1.Condition{
		Type: conditionRejected, Status: metav1.ConditionTrue, Reason: reason, Message: clip(message),
		LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
	if old := meta.FindStatusCondition(was.Conditions, conditionRejected); old != nil {
		c.LastTransitionTime = old.LastTransitionTime
	}
	s.Conditions = append(s.Conditions, c)
}

// reasonOf is a nack's code as the reason of a condition.
func reasonOf(code string) string {
	switch code {
	case feed.CodeUnsupported:
		return "Unsupported"
	case feed.CodeInvalid:
		return "Invalid"
	case feed.CodeCorrupt:
		return "Corrupt"
	}

	return "Rejected"
}

// show is a status as people see it here.
func show(st flink.Status) shown {
	s := shown{
		State: string(st.State), Situation: st.Situation, Message: clip(st.Message),
		ObservedGeneration: st.ObservedGeneration, RecordedGeneration: st.RecordedGeneration,
		Term: st.Term, Run: st.Run, TermRun: fmt.Sprintf("%d/%d", st.Term, st.Run), FlinkJobID: st.Flink.JobID,
	}
	if !st.Snapshot.IsZero() {
		s.Snapshot = &shownSnapshot{Path: st.Snapshot.Path, Kind: st.Snapshot.Kind}
		if !st.Snapshot.CompletedAt.IsZero() {
			s.Snapshot.CompletedAt = new(metav1.NewTime(st.Snapshot.CompletedAt.UTC().Truncate(time.Second)))
		}
	}
	for _, c := range st.Conditions {
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: c.Type, Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: clip(c.Message),
			LastTransitionTime: metav1.NewTime(c.LastTransitionTime.UTC().Truncate(time.Second)),
		})
	}

	return s
}

func clip(s string) string {
	if len(s) <= messages {
		return s
	}

	return string(bytes.ToValidUTF8([]byte(s[:messages]), nil)) + "…"
}

// planned is the part of what stands in an object that came from the planner.
func (s shown) planned() shown {
	s.Hub = ""
	var conds []metav1.Condition
	for _, c := range s.Conditions {
		if c.Type != conditionRejected {
			conds = append(conds, c)
		}
	}
	s.Conditions = conds

	return s
}

func (s shown) same(o shown) bool { return bytes.Equal(text(s), text(o)) }

// gist is what makes a status worth a write of its own: all but ages, times and a newer snapshot.
func (s shown) gist() string {
	s.Snapshot = nil
	s.Message = ageless(s.Message)
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		s.Conditions[i].Message, s.Conditions[i].LastTransitionTime = "", metav1.Time{}
	}

	return string(text(s))
}

// job is what an object has on record. It must be whole.
func (o *flinkJob) job() (records.Job, error) {
	j := records.Job{Body: o.Spec.Body, Row: o.Spec.row(o.Status.Agent.Removed)}
	a := o.Status.Agent
	switch {
	case a.Memory != "":
		j.Memory = []byte(a.Memory)
	case len(a.MemoryGzip) > 0:
		z, err := gzip.NewReader(bytes.NewReader(a.MemoryGzip))
		if err == nil {
			j.Memory, err = io.ReadAll(io.LimitReader(z, memoryMax))
		}
		if err != nil {
			return j, fmt.Errorf("unpack memory of FlinkJob %s: %w", o.ObjectMeta.Name, err)
		}
	}
	if a.Report != "" {
		j.Report = new(feed.Report)
		if err := json.Unmarshal([]byte(a.Report), j.Report); err != nil {
			return j, fmt.Errorf("decode report of FlinkJob %s: %w", o.ObjectMeta.Name, err)
		}
	}

	return j, nil
}

// row is the row in a spec. A job is gone from here as long as the tombstone in force is the one it was removed under:
// spec and status are written one after the other, and a later order must not be taken for gone in between.
func (s spec) row(removed int32) *records.Row {
	r := s.Received
	if r == nil {
		return nil
	}
	out := &records.Row{
		Version:    feed.Version{EpochNumber: r.Epoch, Revision: r.Revision},
		Generation: r.Generation, Term: r.Term, Kind: r.Kind, Deleted: r.Deleted, Policy: flink.DeletePolicy(r.Policy),
		Hash: r.Hash, MAC: r.MAC, Schema: r.Schema,
	}
	if a := s.InForce; a != nil {
		out.Active = &records.Active{
			Generation: a.Generation, Term: a.Term, Deleted: a.Deleted, Policy: flink.DeletePolicy(a.Policy), HasBody: len(s.Body) > 0,
		}
		out.Removed = removed != 0 && a.Deleted && a.Term == removed
	}
	if s.Rejected != nil {
		out.Rejected = new(records.Rejection(*s.Rejected))
	}

	return out
}
