package flink

import "time"

// Observed is what was seen of one job at one time. A thing that could not be
// seen is an observation too (ProcessUnknown, REST.Reachable false), never an error.
type Observed struct {
	At time.Time
	// Blind is why nothing could be seen of the place, in words; empty: it was seen. Only At and Hold mean something then.
	Blind string
	Runs  []RunObserved // runs of this job of which anything exists, oldest first
	Room  Room
	Hold  *Hold // nil: none
	// SnapshotCheck answers memory's question "does this path exist?", nil when not asked or not known yet.
	SnapshotCheck *SnapshotCheck
	// Newest answers memory's question "which is the dead run's newest checkpoint?", nil when not asked,
	// not readable, or when any process of that run still lives.
	Newest *NewestCheckpoint
}

// SnapshotCheck says whether a snapshot path can be read from here.
type SnapshotCheck struct {
	Path   string // as asked
	Exists bool
	Err    string // why it could not be told; Exists is false then and means nothing
}

// NewestCheckpoint is the highest completed checkpoint in a dead run's directory.
type NewestCheckpoint struct {
	Run      Run
	Snapshot Snapshot // zero: the directory was read and holds none
	Err      string   // why it could not be read; Snapshot is zero then and means nothing
}

// Room is what the place can hold, in bytes of declared memory.
type Room struct {
	MemoryTotal int64  // 0: unlimited
	MemoryUsed  int64  // declared by all existing runs of all jobs, this job's too
	Limit       string // what sets MemoryTotal, for people: "resource quota jobs of namespace team-a"; empty: the agent's capacity.memory
}

// Free is how many bytes more can be declared; unlimited room has a lot.
func (r Room) Free() int64 {
	if r.MemoryTotal <= 0 {
		return 1 << 62
	}
	return r.MemoryTotal - r.MemoryUsed
}

// RunObserved is what was seen of one run. A run of which only high availability
// data is left is seen too. A process that is being ended exists until it is gone.
type RunObserved struct {
	Run          Run
	Launch       *Launch // as recorded beside its processes; nil when that cannot be read
	JobManager   Process
	TaskManagers []Process // living and dead process starts of this run, newest last; bounded
	Memory       int64     // declared bytes held by this run's existing processes
	JarMissing   string    // why the program's jar cannot be used; empty: it can
	Drift        []string  // what of it is missing or not as it was made, one object each, for people; Ensure puts it back
	HA           *HAData   // nil: it has no high availability, a lost JobManager ends it
	Endpoint     string    // base address of its REST, empty while unknown
	REST         REST
}

// HAData is what was seen of a run's high availability data: by it a JobManager
// that starts again finds the job, and the newest checkpoint, by itself. With all
// of it zero the run is meant to have such data and there is none: deleted, or not
// written yet. The snapshot that a run came from stands on its record too, under
// the number that it had where it was taken.
type HAData struct {
	Err      string    // why it could not be seen; the rest means nothing then
	Graph    bool      // the job's graph is on record, and can be read: a JobManager that starts runs the job without being asked
	Pointers bool      // the record of the job's checkpoints is there, and can be read. Graph without one starts the job empty, or not at all
	Newest   int64     // number of the newest completed checkpoint on record; 0: none yet
	Renewed  time.Time // when its leading JobManager last renewed its lease; zero: never seen
}

// Hold is a person's word, left at the place, that nothing may be changed there.
type Hold struct {
	Reason string // as written; may be empty
	By     string // who set it, as far as the place tells
	Since  time.Time
}

// Alive reports whether any process of the run exists or may exist.
func (r RunObserved) Alive() bool {
	if r.JobManager.Exists() {
		return true
	}
	for _, p := range r.TaskManagers {
		if p.Exists() {
			return true
		}
	}
	return false
}

// TaskManagersAlive counts TaskManagers that exist.
func (r RunObserved) TaskManagersAlive() int {
	n := 0
	for _, p := range r.TaskManagers {
		if p.Exists() {
			n++
		}
	}
	return n
}

// ProcessState is whether a process of a run exists.
type ProcessState string

// The process states.
const (
	ProcessAbsent  ProcessState = ""        // never started, or no trace of it left
	ProcessRunning ProcessState = "running" // exists
	ProcessExited  ProcessState = "exited"  // ended; ExitCode tells how
	ProcessUnknown ProcessState = "unknown" // could not be seen: counts as existing
)

// Process is one process of a run: a JobManager or one start of a TaskManager.
type Process struct {
	State     ProcessState
	ID        string // resource id of a TaskManager's start
	StartedAt time.Time
	ExitCode  int    // valid when exited; 128+n for signal n; -1 when not known
	Reason    string // last words: the cause found in its log; empty when none
	Waiting   string // why it does not work, though it exists: no node has room, image cannot be pulled; empty: nothing known
	Restarts  int    // how often it was started again in place
	Ended     bool   // it has ended, and is to be started again in place: it exists, and Waiting says so
	Log       string // path of its log, or how to read it
}

// Exists reports whether the process lives or may live.
func (p Process) Exists() bool { return p.State == ProcessRunning || p.State == ProcessUnknown }

// REST is what a run's JobManager answered.
type REST struct {
	Asked        bool      // false: there was nothing to ask yet
	Reachable    bool      // it answered this time
	SilentSince  time.Time // since when it has not answered; zero when it does
	Err          string    // of the last try
	OtherKeys    bool      // what answers was started with other keys than this place would give it now: it can never be spoken to
	FlinkVersion string
	TaskManagers int32
	SlotsTotal   int32
	SlotsFree    int32
	JobsListed   bool         // /jobs/overview was read
	Job          *JobObserved // our job id; nil: not there (only meaningful with JobsListed)
	OtherJobs    []string     // job ids that are not ours: a program with several execute()
	Trigger      *Trigger     // the savepoint or stop that memory has under way, nil when not asked or unknown there
	TriggerGone  bool         // asked, and this JobManager does not know it
}

// Flink's job states that are named in decisions.
const (
	JobInitializing = "INITIALIZING"
	JobCreated      = "CREATED"
	JobRunning      = "RUNNING"
	JobFailing      = "FAILING"
	JobFailed       = "FAILED"
	JobCancelling   = "CANCELLING"
	JobCanceled     = "CANCELED"
	JobFinished     = "FINISHED"
	JobRestarting   = "RESTARTING"
	JobSuspended    = "SUSPENDED"
	JobReconciling  = "RECONCILING"
)

// JobTerminal reports whether a Flink job state is globally terminal.
func JobTerminal(state string) bool {
	return state == JobFinished || state == JobCanceled || state == JobFailed
}

// JobObserved is what REST said about the run's job.
type JobObserved struct {
	ID           string
	Name         string
	State        string
	TasksRunning int32 // RUNNING, and FINISHED ones of a bounded source
	TasksTotal   int32
	Parallelism  int32 // greatest parallelism of any vertex, 0 while unknown
	Wanted       int32 // the same as the program asks for it, given the slots; 0 while unknown
	StartTime    time.Time
	Restored     *Restored // latest.restored, nil while none
	Latest       Snapshot  // newest completed checkpoint or savepoint, zero while none
	Completed    int64     // checkpoints completed in this JobManager's life
	Restarts     int32
	Cause        *Cause // why it FAILED, or its newest exception
}

// AllRunning reports whether the job is RUNNING with every task of it running.
func (j JobObserved) AllRunning() bool {
	return j.State == JobRunning && j.TasksTotal > 0 && j.TasksRunning == j.TasksTotal
}

// Restored is Flink's own word on where the job's state came from.
type Restored struct {
	Path        string // normalised
	ID          int64
	IsSavepoint bool
	At          time.Time
}

// Trigger is the state of an asynchronous savepoint or stop.
type Trigger struct {
	ID        string
	Completed bool   // false: in progress
	Location  string // normalised path; empty when it failed
	Failure   *Cause
}

// Cause is why something failed, from a Java cause chain.
type Cause struct {
	Class   string // innermost class
	Message string // innermost message, one line, bounded
	Top     string // outermost class, when it says more
	At      time.Time
}

// String is the cause in one line.
func (c *Cause) String() string {
	switch {
	case c == nil:
		return ""
	case c.Message == "":
		return c.Class
	case c.Class == "":
		return c.Message
	}
	return c.Class + ": " + c.Message
}
