package plan

import "github.com/waterwheel-io/waterwheel/flink"

// Action is the one outside effect of a pass. Doing an Action twice leaves the
// same processes, objects and jobs. The set is closed.
type Action interface {
	// Kind is the action's name in logs and metrics.
	Kind() string
	action()
}

// EnsureRun brings up what is missing of a run's Flink cluster.
type EnsureRun struct{ Launch flink.Launch }

// Preflight asks the run's JobManager to run main() without starting anything.
type Preflight struct {
	Run     flink.Run
	Program flink.Program
}

// Submit starts the run's job.
type Submit struct {
	Run        flink.Run
	Submission flink.Submission
}

// StopJob stops the run's job with a savepoint below Directory.
type StopJob struct {
	Run       flink.Run
	JobID     string
	TriggerID string
	Directory string
}

// CancelJob cancels the run's job; its retained checkpoints stay.
type CancelJob struct {
	Run   flink.Run
	JobID string
}

// EndRun ends every process of a run. Its files stay.
type EndRun struct{ Run flink.Run }

// Kind implements Action.
func (EnsureRun) Kind() string { return "ensure-run" }

// Kind implements Action.
func (Preflight) Kind() string { return "preflight" }

// Kind implements Action.
func (Submit) Kind() string { return "submit" }

// Kind implements Action.
func (StopJob) Kind() string { return "stop-with-savepoint" }

// Kind implements Action.
func (CancelJob) Kind() string { return "cancel" }

// Kind implements Action.
func (EndRun) Kind() string { return "end-run" }

func (EnsureRun) action() {}
func (Preflight) action() {}
func (Submit) action()    {}
func (StopJob) action()   {}
func (CancelJob) action() {}
func (EndRun) action()    {}

// Outcome is what an act answered, for Memory.Note. Most truths come from the
// next observation; only an answer that cannot be observed later is taken from here.
type Outcome struct {
	Err     string         // empty: done
	Refusal *flink.Refusal // set when the answer was a definite no
}
