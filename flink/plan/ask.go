package plan

import (
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Questions are what the next observation must answer beyond what exists.
type Questions struct {
	Triggers     map[flink.Run]string // trigger under way, by run
	SnapshotPath string               // does this path exist?
	Dead         *DeadRun             // which is its newest snapshot?
}

// DeadRun is a run whose directories are to be read, once no process of it is left.
type DeadRun struct {
	Run            flink.Run
	CheckpointsDir string
	StopDir        string // of the stop that was under way; empty when there was none
}

// Ask derives the questions from what is remembered.
func Ask(o flink.Order, m Memory) Questions {
	q := Questions{Triggers: map[flink.Run]string{}}
	c := m.Current
	if c != nil && c.StopTrigger != "" {
		q.Triggers[c.Run] = c.StopTrigger
	}
	if c != nil && c.End != nil && !c.End.Listed {
		q.Dead = &DeadRun{
			Run: c.Run, StopDir: c.StopDir,
			CheckpointsDir: config.Dirs(c.Spec.StateStorage.Root, o.Tenant, c.Run).Checkpoints,
		}
	}
	if o.RestartFrom != "" && m.StartedFrom != o.Restart {
		q.SnapshotPath = o.RestartFrom
		return q
	}
	from := o.Spec.StartFrom.Snapshot
	if from != "" && (c == nil || !m.HadSnapshot || c.Spec.StartFrom.Snapshot != from) {
		q.SnapshotPath = from
	}
	return q
}
