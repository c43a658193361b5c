package plan

import (
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Memory is all that is remembered of one job between passes. It is saved
// before the act that it intends. Its JSON form is stored: fields are only added.
type Memory struct {
	Term    int32 // term of the runs below
	LastRun int32 // highest run number handed out in Term; a number is never used again

	Current  *RunRecord // the run that has the job, had it last, or is getting it
	Next     *RunRecord // the run that is warmed while Current still works
	Previous *RunRecord // the run before Current, until Current is proven

	Snapshot    flink.Snapshot // newest proven of the job, of any run
	HadSnapshot bool           // a snapshot of this job was ever recorded: never start empty silently

	Failures int       // starts in a row that failed or did not last, of the order below
	RetryAt  time.Time // next start not before
	Wanted   Wanted    // the order that the failures above and the attempts below were counted for

	Savepoint SavepointRecord // attempts at stopping Current with a savepoint
	Refused   *RefusedRecord  // this generation cannot start; nothing is tried until it changes or a restart is asked

	StartedFrom int32 // the restart whose named snapshot a run has started from

	Said Said // what was said last, for the times in conditions and transitions
}

// Wanted names what a person asked for last: a new one is tried at once.
type Wanted struct {
	Generation int32
	Restart    int32
}

// Said is the part of the last status that the next one needs.
type Said struct {
	Situation   Situation
	State       flink.JobState
	Conditions  []flink.Condition
	Transitions []flink.Transition
}

// Phase is how far a run has come.
type Phase string

// The phases of a run, in order.
const (
	PhaseWarming   Phase = "warming"   // its Flink cluster comes up, empty
	PhaseChecked   Phase = "checked"   // its program passed the preflight
	PhaseSubmitted Phase = "submitted" // its job was handed in, or is about to be
	PhaseProven    Phase = "proven"    // all tasks ran once, restored path as intended
	PhaseOver      Phase = "over"      // ended; End says how
)

// RunRecord is what is remembered of one run.
type RunRecord struct {
	Run        flink.Run
	Generation int32 // of the spec it was started from
	Restart    int32 // restart count of the order it was started from
	Spec       flink.Spec
	Phase      Phase
	Good       bool // its spec ran once, and goes on when a newer one cannot start
	Cold       bool // started after its predecessor ended
	Since      time.Time
	PhaseSince time.Time

	Intended string         // snapshot path it starts from; empty: from nothing
	Instead  flink.Snapshot // what it would have started from, had no restart named another
	// InsteadKnown says that Instead is known for certain; a zero one is none then.
	InsteadKnown bool
	StartReason  string         // why from there, in words for people
	Attempts     int            // of the current phase's act
	TriedAt      time.Time      // when the last act was answered
	LastErr      string         // of the last act
	Exits        int            // how often its JobManager ended while it was warmed
	Denied       *flink.Refusal // the last act's definite no

	Restored   string         // Flink's own word, read at the first RUNNING
	Checkpoint flink.Snapshot // newest seen over REST: a lower bound for what its directory must hold

	Stops       int    // stops asked of this run: a trigger id is never used for two
	StopTrigger string // trigger id of the stop under way
	StopDir     string // the directory of that stop alone
	StopSince   time.Time
	CancelSince time.Time
	Reduced     time.Time // since when it runs with less than it wants, a living TaskManager of it being unregistered; zero while not
	NotRunning  time.Time // since when not all its tasks run, once proven; zero while they do
	RunningAt   time.Time // when all its tasks were first seen to run
	Seen        bool      // its job was seen: it is never handed in again, since its id may have checkpoints

	HA        bool      // it has high availability: a JobManager that starts again goes on by itself
	HAFault   string    // why its record of checkpoints is not to be believed, a condition reason; empty: it is
	Pointers  bool      // its record of checkpoints was seen
	Replaced  bool      // that was counted, to replace run after run ever later
	Life      Life      // that its job is in, with high availability
	Recovered time.Time // when its job last proved that it came back by itself
	Newest    int64     // highest number of a checkpoint of its own that was seen, over REST or on its record
	Proof     int64     // the same, seen while its job was in a proven life: a later life comes from this one or a later
	DownAt    time.Time // when its tasks were last seen not to run; zero while they do
	ExactAt   time.Time // when its record of checkpoints was last read while none could be added
	Absent    time.Time // since when its JobManager is there without the job; zero while not

	Crash   CrashRecord // how often its JobManager ended since its job was last seen
	Crashes int         // how many runs right before it were given up for that

	RestoredID int64       // number of the snapshot it came from
	Waiting    time.Time   // since when a process of it exists and does not work; zero while all do
	WorksSince time.Time   // when its processes last had nothing to wait for any more
	Drift      DriftRecord // how often its objects were put back

	End *End
}

// EndKind is how a run ended.
type EndKind string

// The kinds of end.
const (
	EndFinished  EndKind = "finished"  // its bounded sources are done
	EndStopped   EndKind = "stopped"   // by our stop with a savepoint
	EndCanceled  EndKind = "canceled"  // by our cancel, or somebody else's
	EndFailed    EndKind = "failed"    // Flink gave it up
	EndLost      EndKind = "lost"      // its JobManager or its job is gone, unasked
	EndAbandoned EndKind = "abandoned" // never got its job
)

// End is the end of a run, on record before anything follows from it.
type End struct {
	Kind     EndKind
	At       time.Time
	Cause    *flink.Cause
	Snapshot flink.Snapshot // what it left: the savepoint of its stop, or its newest checkpoint once Listed
	Listed   bool           // its directory was read after all its processes were gone, or needs no reading
	Gone     bool           // no process of it is left
	GoneAt   time.Time      // when that was first seen
	Counted  bool           // it went into Memory.Failures
}

// SavepointRecord counts failed attempts at a stop with savepoint.
type SavepointRecord struct {
	Attempt int
	RetryAt time.Time
	LastErr string
}

// RefusedRecord is a generation that cannot start, and why.
type RefusedRecord struct {
	Generation int32
	Restart    int32
	Reason     string // condition reason
	Message    string
	At         time.Time
}
