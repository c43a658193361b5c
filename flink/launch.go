package flink

import "fmt"

// Launch is what a runtime needs to bring up the Flink cluster of one run, empty.
type Launch struct {
	Run    Run
	Tenant string
	Name   string // of the job, for people who look at processes and objects
	Spec   Spec
	// Generation and Restart of the order it stands for: what an agent that lost its records adopts the run by.
	Generation int32
	Restart    int32
}

// Program is what a JobManager is asked to check or to start.
type Program struct {
	EntryClass  string
	Args        []string
	Parallelism int32
}

// ProgramOf is the program of a spec.
func ProgramOf(s Spec) Program {
	return Program{EntryClass: s.Jar.EntryClass, Args: s.Jar.Args, Parallelism: s.Parallelism}
}

// Submission starts a program as one run's job.
type Submission struct {
	Program
	JobID        string
	SnapshotPath string // empty: from nothing
}

// RESTQuery says what to ask one run's JobManager for.
type RESTQuery struct {
	JobID     string
	TriggerID string // empty: no trigger under way
}

// RefusalKind is why an act cannot be done, as far as decisions differ.
type RefusalKind string

// The kinds of refusal.
const (
	RefusedNoRoom    RefusalKind = "NoRoom"        // declared memory above what is free
	RefusedJar       RefusalKind = "JarMissing"    // the jar cannot be found or read
	RefusedVersion   RefusalKind = "FlinkVersion"  // no distribution of that version here
	RefusedTenant    RefusalKind = "TenantUnknown" // the place has no room of its own for that tenant
	RefusedPlace     RefusalKind = "PlaceRefuses"  // the place's own rules forbid what would have to be made
	RefusedProgram   RefusalKind = "Program"       // main() or the class: the program itself
	RefusedTransient RefusalKind = "Transient"     // ask again
)

// Refusal is an act's definite "no", with its reason. It is an error.
type Refusal struct {
	Kind  RefusalKind
	Cause Cause
}

// Error is the refusal in one line.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Kind, r.Cause.String()) }

// Permanent reports whether only a changed spec, or a changed place, helps.
func (r *Refusal) Permanent() bool { return r.Kind != RefusedTransient && r.Kind != RefusedNoRoom }
