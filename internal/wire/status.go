package wire

import (
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// StatusToProto writes a status. Cluster, freshness and nack are the hub's to
// add. The uid of the job is not part of it: what carries a status names its job.
func StatusToProto(s flink.Status) *flinkv1.JobStatus {
	p := flinkv1.JobStatus_builder{
		ObservedGeneration: s.ObservedGeneration,
		RecordedGeneration: s.RecordedGeneration,
		State:              string(s.State),
		Term:               s.Term,
		Run:                s.Run,
		Situation:          s.Situation,
		Message:            s.Message,
		AsOf:               stamp(s.AsOf),
		Gone:               s.Gone,
	}
	if f := s.Flink; f != (flink.FlinkStatus{}) {
		p.Flink = flinkv1.FlinkStatus_builder{
			JobId: f.JobID, State: f.State, TasksRunning: f.TasksRunning, TasksTotal: f.TasksTotal, Version: f.Version,
			StartTime: stamp(f.StartTime), Parallelism: f.Parallelism, Checkpoints: int32(min(f.Checkpoints, math.MaxInt32)),
		}.Build()
	}
	if n := s.Snapshot; !n.IsZero() {
		snapshot := flinkv1.Snapshot_builder{
			Path: n.Path, Kind: n.Kind, CompletedAt: stamp(n.CompletedAt), Term: n.Run.Term, Run: n.Run.Run,
		}
		if n.ID != 0 {
			snapshot.Id = strconv.FormatInt(n.ID, 10)
		}
		p.Snapshot = snapshot.Build()
	}
	if r := s.Restored; r != (flink.RestoredStatus{}) {
		p.Restored = flinkv1.Restored_builder{Intended: r.Intended, Actual: r.Actual, Proven: r.Proven}.Build()
	}
	for _, c := range s.Conditions {
		p.Conditions = append(p.Conditions, flinkv1.Condition_builder{
			Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message, LastTransitionTime: stamp(c.LastTransitionTime),
		}.Build())
	}
	for _, t := range s.Transitions {
		p.Transitions = append(p.Transitions, flinkv1.Transition_builder{
			At: stamp(t.At), Situation: t.Situation, State: string(t.State), Message: t.Message, Run: t.Run,
		}.Build())
	}
	if l := s.Links; l.FlinkUI != "" || l.CheckpointsDir != "" || l.SavepointsDir != "" || len(l.Logs) > 0 {
		p.Links = flinkv1.Links_builder{
			FlinkUi: l.FlinkUI, Logs: list(l.Logs), CheckpointsDir: l.CheckpointsDir, SavepointsDir: l.SavepointsDir,
		}.Build()
	}
	return p.Build()
}

// StatusFromProto reads the status of the job with that uid; nil is the zero
// Status. Times come back in UTC.
func StatusFromProto(uid string, p *flinkv1.JobStatus) flink.Status {
	s := flink.Status{
		ObservedGeneration: p.GetObservedGeneration(),
		RecordedGeneration: p.GetRecordedGeneration(),
		State:              flink.JobState(p.GetState()),
		Term:               p.GetTerm(),
		Run:                p.GetRun(),
		Situation:          p.GetSituation(),
		Message:            p.GetMessage(),
		AsOf:               moment(p.GetAsOf()),
		Gone:               p.GetGone(),
		Restored: flink.RestoredStatus{
			Intended: p.GetRestored().GetIntended(), Actual: p.GetRestored().GetActual(), Proven: p.GetRestored().GetProven(),
		},
		Links: flink.Links{
			FlinkUI: p.GetLinks().GetFlinkUi(), Logs: list(p.GetLinks().GetLogs()),
			CheckpointsDir: p.GetLinks().GetCheckpointsDir(), SavepointsDir: p.GetLinks().GetSavepointsDir(),
		},
	}
	f := p.GetFlink()
	s.Flink = flink.FlinkStatus{
		JobID: f.GetJobId(), State: f.GetState(), TasksRunning: f.GetTasksRunning(), TasksTotal: f.GetTasksTotal(),
		Parallelism: f.GetParallelism(), Checkpoints: int64(f.GetCheckpoints()), Version: f.GetVersion(), StartTime: moment(f.GetStartTime()),
	}
	if n := p.GetSnapshot(); n.GetPath() != "" {
		id, _ := strconv.ParseInt(n.GetId(), 10, 64) // an unreadable number is no number: the path is what counts
		s.Snapshot = flink.Snapshot{Path: n.GetPath(), Kind: n.GetKind(), ID: id, CompletedAt: moment(n.GetCompletedAt())}
		if n.GetRun() != 0 {
			s.Snapshot.Run = flink.Run{UID: uid, Term: n.GetTerm(), Run: n.GetRun()}
		}
	}
	for _, c := range p.GetConditions() {
		s.Conditions = append(s.Conditions, flink.Condition{
			Type: c.GetType(), Status: c.GetStatus(), Reason: c.GetReason(), Message: c.GetMessage(),
			LastTransitionTime: moment(c.GetLastTransitionTime()),
		})
	}
	for _, t := range p.GetTransitions() {
		s.Transitions = append(s.Transitions, flink.Transition{
			At: moment(t.GetAt()), Situation: t.GetSituation(), State: flink.JobState(t.GetState()), Message: t.GetMessage(), Run: t.GetRun(),
		})
	}
	return s
}

// stamp and moment make the zero time and an absent timestamp alike.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func moment(p *timestamppb.Timestamp) time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.AsTime()
}
