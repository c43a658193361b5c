package flink

import (
	"maps"
	"slices"
	"time"
)

// Values of Spec.State.
const (
	StateRunning   = "running"
	StateSuspended = "suspended"
)

// Values of Spec.UpgradeMode: where the next run starts from after an edit.
const (
	UpgradeStateless = "stateless"
	UpgradeSavepoint = "savepoint"
	UpgradeLastState = "last-state"
)

// Values of Spec.Switch: whether the next run is warmed beside the old one
// (outage of seconds, memory of two for a while) or started after it ended.
const (
	SwitchWarm = "warm"
	SwitchCold = "cold"
)

// DeletePolicy says what happens to the last run of a deleted job.
type DeletePolicy string

// The delete policies. Empty means the default: DeleteSavepoint, or
// DeleteCancel for a job whose upgrade mode is stateless.
const (
	DeleteSavepoint DeletePolicy = "savepoint" // stop with a savepoint
	DeleteCancel    DeletePolicy = "cancel"    // stop without one
	DeleteOrphan    DeletePolicy = "orphan"    // forget it, leave it running
)

// Spec is what a user asked for. Enumerated fields, durations and quantities
// are strings, as in the manifest; Validate says whether they parse.
type Spec struct {
	Cluster            string
	State              string
	FlinkVersion       string
	Image              string
	Jar                Jar
	Parallelism        int32
	UpgradeMode        string
	Switch             string
	StateStorage       StateStorage
	Checkpointing      Checkpointing
	JobManager         Resources
	TaskManager        TaskManager
	FlinkConfiguration map[string]string
	StartFrom          StartFrom
}

// Jar names the program: where its jar is, which class, which arguments.
type Jar struct {
	URI        string // local:///opt/flink/usrlib/X.jar or file:///…
	EntryClass string
	Args       []string
}

// StateStorage is where checkpoints and savepoints live; empty: the agent's root.
type StateStorage struct{ Root string }

// Checkpointing sets how often Flink takes a checkpoint. Empty Interval means the default.
type Checkpointing struct{ Interval string }

// Resources of one process: CPU in cores ("0.5", "500m"), Memory as a quantity ("1Gi").
type Resources struct {
	CPU    string
	Memory string
}

// TaskManager sizes one TaskManager; how many there are follows from parallelism and slots.
type TaskManager struct {
	Resources
	Slots int32
}

// StartFrom names the snapshot of a job's first start. Later starts ignore it.
type StartFrom struct{ Snapshot string }

// Clone returns a deep copy.
func (s Spec) Clone() Spec {
	s.Jar.Args = slices.Clone(s.Jar.Args)
	s.FlinkConfiguration = maps.Clone(s.FlinkConfiguration)
	return s
}

// Stateful reports whether the job's state is carried from run to run.
func (s Spec) Stateful() bool { return s.UpgradeMode != UpgradeStateless }

// TaskManagers is how many TaskManagers the spec asks for: enough slots for its parallelism.
func (s Spec) TaskManagers() int32 {
	slots := max(s.TaskManager.Slots, 1)
	return (max(s.Parallelism, 1) + slots - 1) / slots
}

// MemoryBytes is the declared memory of one run: JobManager plus all
// TaskManagers. Unparsable quantities count as zero; Validate refuses them before.
func (s Spec) MemoryBytes() int64 {
	jm, _ := ParseMemory(s.JobManager.Memory)
	tm, _ := ParseMemory(s.TaskManager.Memory)
	return jm + tm*int64(s.TaskManagers())
}

// CheckpointInterval is the parsed interval, or the default when empty or unparsable.
func (s Spec) CheckpointInterval() time.Duration {
	d, err := time.ParseDuration(s.Checkpointing.Interval)
	if err != nil || d <= 0 {
		return DefaultCheckpointInterval
	}
	return d
}

// Job is a declared job as the hub keeps it.
type Job struct {
	UID         string // made by the hub, never used again
	Tenant      string
	Name        string
	Labels      map[string]string
	Generation  int32 // version of Spec, counted by the admin API from 1
	Spec        Spec
	Restart     int32        // how often a restart was asked for
	RestartFrom string       // the snapshot that the last restart named; empty: none, the newest proven one counts
	Deleting    bool         // a tombstone stands until the agent reports the job gone
	Policy      DeletePolicy // of the deletion
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Assignment says which cluster holds a job. Term grows with each assignment.
type Assignment struct {
	JobUID     string
	ClusterUID string
	Term       int32
	Since      time.Time
	Why        string
}

// Order is what one cluster is told about one job: a pure function of (Job, Assignment).
type Order struct {
	UID         string
	Tenant      string
	Name        string
	Labels      map[string]string
	Generation  int32
	Term        int32
	Spec        Spec
	Restart     int32
	RestartFrom string // of the restart that Restart counts last: where its run starts from, whatever else is on record
	Deleted     bool
	Policy      DeletePolicy
}

// OrderFor writes the order for the holder of a.
func OrderFor(j Job, a Assignment) Order {
	return Order{
		UID: j.UID, Tenant: j.Tenant, Name: j.Name, Labels: maps.Clone(j.Labels),
		Generation: j.Generation, Term: a.Term, Spec: j.Spec.Clone(), Restart: j.Restart, RestartFrom: j.RestartFrom,
		Deleted: j.Deleting, Policy: j.Policy,
	}
}

// SpecEqual reports whether two specs ask for the same. An empty list or map
// equals a missing one.
func SpecEqual(a, b Spec) bool {
	return a.Cluster == b.Cluster && a.State == b.State && a.FlinkVersion == b.FlinkVersion && a.Image == b.Image &&
		a.Jar.URI == b.Jar.URI && a.Jar.EntryClass == b.Jar.EntryClass && slices.Equal(a.Jar.Args, b.Jar.Args) &&
		a.Parallelism == b.Parallelism && a.UpgradeMode == b.UpgradeMode && a.Switch == b.Switch &&
		a.StateStorage == b.StateStorage && a.Checkpointing == b.Checkpointing && a.JobManager == b.JobManager &&
		a.TaskManager == b.TaskManager && a.StartFrom == b.StartFrom && maps.Equal(a.FlinkConfiguration, b.FlinkConfiguration)
}
