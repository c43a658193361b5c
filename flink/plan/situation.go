package plan

// Situation is the named state of one job that a pass found. It is logged,
// counted and shown.
type Situation string

// The situations.
const (
	NoRoom           Situation = "NoRoom"           // waits for room
	CheckingSnapshot Situation = "CheckingSnapshot" // asks whether the snapshot named by the spec exists
	Warming          Situation = "Warming"          // a run's Flink cluster comes up, empty
	Checking         Situation = "Checking"         // preflight
	PreflightRefused Situation = "PreflightRefused" // the new spec cannot start; the old run goes on
	StartImpossible  Situation = "StartImpossible"  // cannot start, nothing runs
	Submitting       Situation = "Submitting"       // the job is handed in
	Starting         Situation = "Starting"         // the job deploys and restores
	RestoredWrong    Situation = "RestoredWrong"    // came back from elsewhere than intended
	SeveralJobs      Situation = "SeveralJobs"      // jobs run beside ours that are not of its program
	InSync           Situation = "InSync"           // all as it should be
	TasksNotRunning  Situation = "TasksNotRunning"  // Flink restarts tasks by itself
	TaskManagerHung  Situation = "TaskManagerHung"  // one lives and does nothing: the run is replaced
	TaskManagerLost  Situation = "TaskManagerLost"  // a TaskManager is missing and being replaced
	Silent           Situation = "Silent"           // REST does not answer, not yet long enough
	SpecChanged      Situation = "SpecChanged"      // a next run is needed
	RestartAsked     Situation = "RestartAsked"     // a next run of the same spec is needed
	TakingSavepoint  Situation = "TakingSavepoint"  // stop with savepoint under way
	SavepointFailed  Situation = "SavepointFailed"  // the old run goes on; tried again later
	Canceling        Situation = "Canceling"        // cancel under way
	NothingToSave    Situation = "NothingToSave"    // no live job to take a savepoint from
	Switching        Situation = "Switching"        // between the old run's end and the new run's start
	Ended            Situation = "Ended"            // a run's end is on record
	OldRunNotEnded   Situation = "OldRunNotEnded"   // its processes are being ended
	ReadingSnapshots Situation = "ReadingSnapshots" // looks for the dead run's newest checkpoint
	SnapshotsUnread  Situation = "SnapshotsUnread"  // state storage cannot be read
	SnapshotMissing  Situation = "SnapshotMissing"  // less found than was seen, or nothing where something must be
	Recovering       Situation = "Recovering"       // the JobManager brings the job back by itself
	HADataDamaged    Situation = "HADataDamaged"    // a JobManager that starts again would start empty: the run is replaced
	ObjectsMissing   Situation = "ObjectsMissing"   // of the run, deleted by somebody; put back
	Drifted          Situation = "Drifted"          // objects of the run were changed by somebody; put back
	Held             Situation = "Held"             // a person wants nothing changed, and something would be
	JobManagerLost   Situation = "JobManagerLost"   // gone, or silent too long
	JobLost          Situation = "JobLost"          // the JobManager is there without its job
	JobFailed        Situation = "JobFailed"        // FAILED after running
	BackingOff       Situation = "BackingOff"       // waits before the next start
	JobFinished      Situation = "Finished"         // bounded job done
	Suspending       Situation = "Suspending"       //
	SuspendedInSync  Situation = "Suspended"        //
	Deleting         Situation = "Deleting"         //
	DeleteBlocked    Situation = "DeleteBlocked"    // no savepoint possible
	Gone             Situation = "Gone"             // nothing left to do here
	Leftovers        Situation = "Leftovers"        // a dead run's processes are being ended
	StaleObservation Situation = "StaleObservation" // what is known is too old to act on
	Unseen           Situation = "Unseen"           // the place cannot be seen at all
)
