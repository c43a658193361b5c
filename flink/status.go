package flink

import (
	"slices"
	"time"
)

// JobState is the one word about a job, Status.State.
type JobState string

// The job states.
const (
	Pending    JobState = "Pending"    // nothing runs yet, and nothing stands against it but what message says
	Starting   JobState = "Starting"   // a run is being brought up
	Running    JobState = "Running"    // all tasks run
	Suspending JobState = "Suspending" // being stopped, state kept
	Suspended  JobState = "Suspended"
	Upgrading  JobState = "Upgrading" // between two runs
	Failing    JobState = "Failing"   // broken, and being brought back without a human
	Failed     JobState = "Failed"    // nothing runs; needs a changed spec or a restart
	Finished   JobState = "Finished"
	Deleting   JobState = "Deleting"
	Unknown    JobState = "Unknown" // cannot be seen
)

// Condition types and their statuses, as Kubernetes has them.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	ConditionHeld        = "Held" // there only while a person holds the job at its place

	True           = "True"
	False          = "False"
	UnknownStatus  = "Unknown"
	MaxTransitions = 20
)

// Condition is one typed statement about a job.
type Condition struct {
	Type               string
	Status             string // True, False, Unknown
	Reason             string
	Message            string
	LastTransitionTime time.Time
}

// Transition is one change of situation or state, for describe.
type Transition struct {
	At        time.Time
	Situation string
	State     JobState
	Message   string
	Run       int32
}

// Status is everything that is said about a job. The agent makes it; the hub
// keeps the newest, and adds only freshness.
type Status struct {
	ObservedGeneration int32 // generation that the current run was started from
	RecordedGeneration int32 // generation of the order that the agent recorded
	State              JobState
	Term               int32
	Run                int32
	Flink              FlinkStatus
	Snapshot           Snapshot // newest proven
	Restored           RestoredStatus
	Situation          string
	Message            string // the one sentence
	Conditions         []Condition
	Transitions        []Transition // last MaxTransitions, oldest first
	Links              Links
	AsOf               time.Time
	Gone               bool // the job is deleted and nothing of it is left here
}

// FlinkStatus is Flink's own view of the current run.
type FlinkStatus struct {
	JobID        string
	State        string
	TasksRunning int32
	TasksTotal   int32
	Parallelism  int32
	Checkpoints  int64 // completed in this JobManager's life
	Version      string
	StartTime    time.Time
}

// RestoredStatus tells whether the current run came back from where it was meant to.
type RestoredStatus struct {
	Intended string
	Actual   string
	Proven   bool
}

// Links say where people can look. Never followed by Waterwheel itself.
type Links struct {
	FlinkUI        string
	Logs           []string
	CheckpointsDir string
	SavepointsDir  string
}

// Condition returns the condition of a type, or the zero Condition.
func (s Status) Condition(typ string) Condition {
	for _, c := range s.Conditions {
		if c.Type == typ {
			return c
		}
	}
	return Condition{}
}

// Durable reports whether the hub must have this status on disk before it
// acks it: what cannot be asked again. prev is the last one it took.
func (s Status) Durable(prev Status) bool {
	return s.Gone || s.Snapshot.Path != prev.Snapshot.Path && s.Snapshot.Kind == KindSavepoint ||
		s.State != prev.State && (s.State == Finished || s.State == Failed || s.State == Suspended)
}

// Equal reports whether two statuses say the same apart from AsOf.
func (s Status) Equal(o Status) bool {
	if !slices.Equal(s.Conditions, o.Conditions) || !slices.Equal(s.Transitions, o.Transitions) ||
		!slices.Equal(s.Links.Logs, o.Links.Logs) {
		return false
	}
	return s.ObservedGeneration == o.ObservedGeneration && s.RecordedGeneration == o.RecordedGeneration &&
		s.State == o.State && s.Term == o.Term && s.Run == o.Run && s.Flink == o.Flink &&
		s.Snapshot == o.Snapshot && s.Restored == o.Restored && s.Situation == o.Situation &&
		s.Message == o.Message && s.Gone == o.Gone && s.Links.FlinkUI == o.Links.FlinkUI &&
		s.Links.CheckpointsDir == o.Links.CheckpointsDir && s.Links.SavepointsDir == o.Links.SavepointsDir
}
