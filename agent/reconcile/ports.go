package reconcile

import (
	"context"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// Runtime brings the Flink clusters of runs up and down in one place: the
// processes of a host, or the objects of a Kubernetes cluster. All methods may
// be called from many goroutines, for one job from one at a time.
type Runtime interface {
	// Observe says what exists of the job's runs, oldest first, and how much room there is. The REST part stays zero.
	// An error means that nothing can be said; it is never read as "nothing exists".
	Observe(ctx context.Context, uid string) ([]flink.RunObserved, flink.Room, error)
	// Ensure starts what is missing of a run's Flink cluster: JobManager, as many living TaskManagers as the spec
	// asks for, and the program's jar where its JobManager finds it. It does not wait until they are ready. Errors
	// that are a definite no are *flink.Refusal: RefusedNoRoom, RefusedJar, RefusedVersion.
	Ensure(ctx context.Context, l flink.Launch) error
	// End ends every process of the run and returns when none is left, or when ctx ends. Files stay, and so
	// does whatever tells of its checkpoints.
	End(ctx context.Context, r flink.Run) error
	// Collect removes what is left of runs of a job that have no process any more, but for those to keep: the
	// runs that the job's record names, the current one first. It is called when nothing else is to be done.
	Collect(ctx context.Context, uid string, keep []flink.Run) error
	// Run watches until ctx ends and calls wake with the uid of each job of which something changed.
	Run(ctx context.Context, wake func(uid string)) error
}

// Flink is the REST side of one run's JobManager. Each call has its own deadline.
type Flink interface {
	// Observe asks for everything that decisions need. What cannot be had is part of the answer.
	Observe(ctx context.Context, endpoint string, q flink.RESTQuery) flink.REST
	// Plan runs main() up to execute() and starts nothing. A definite no is a *flink.Refusal (RefusedProgram, RefusedJar).
	Plan(ctx context.Context, endpoint string, p flink.Program) error
	// Submit starts the job. Its answer is no proof of anything, the job id in the next observation is.
	Submit(ctx context.Context, endpoint string, s flink.Submission) error
	// Stop triggers a stop with a savepoint. The same trigger id gives the same savepoint.
	Stop(ctx context.Context, endpoint, jobID, triggerID, directory string) error
	// Cancel cancels. A job that is terminal already is not an error.
	Cancel(ctx context.Context, endpoint, jobID string) error
}

// Snapshots reads state storage.
type Snapshots interface {
	// Exists reports whether a complete snapshot stands at the path.
	Exists(ctx context.Context, path string) (bool, error)
	// Newest is the highest completed chk-N of a run below its checkpoints directory; zero when there is none.
	Newest(ctx context.Context, r flink.Run, checkpointsDir string) (flink.Snapshot, error)
	// Savepoint is the complete savepoint below a directory that was given to one stop alone; zero when there is none.
	Savepoint(ctx context.Context, r flink.Run, directory string) (flink.Snapshot, error)
}

// Record is what is kept about one job.
type Record struct {
	Order  flink.Order
	Memory plan.Memory
}

// Store keeps orders and memories through crashes of agent and host.
type Store interface {
	// Jobs lists the uids of all jobs on record.
	Jobs(ctx context.Context) ([]string, error)
	// Load returns the record of a job; false when there is none.
	Load(ctx context.Context, uid string) (Record, bool, error)
	// SaveMemory makes the memory durable before it returns. It is an error if the job is not on record.
	SaveMemory(ctx context.Context, uid string, m plan.Memory) error
	// NoteMemory has Load return the memory from now on. It may be lost with the agent, and is on record with whatever
	// is saved of the job next.
	NoteMemory(ctx context.Context, uid string, m plan.Memory) error
	// Remove forgets a deleted job of which nothing is left here, and keeps what tells the hub so until it has it.
	Remove(ctx context.Context, uid string) error
}
