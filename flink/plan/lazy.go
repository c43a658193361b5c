package plan

import (
	"encoding/json"

	"github.com/waterwheel-io/waterwheel/flink"
)

// OnlyNewerSnapshot reports whether m says nothing that old does not say, but
// for newer checkpoints of the run that old speaks of, and for other words about
// an unchanged condition. Such a memory may be put on record later, since what it
// adds is read again before anything is decided from it: over REST while the run
// lives, from its directory or its high availability data once it is over. The
// older path is the lower bound then; what it bounds is weaker by the checkpoints
// that were not put on record.
//
// The first snapshot of a job or of a run, a savepoint, and whatever an act or an
// end left are never of this kind.
func (m Memory) OnlyNewerSnapshot(old Memory) bool {
	m = m.clone()
	if newerCheckpoint(m.Snapshot, old.Snapshot) {
		m.Snapshot = old.Snapshot
	}
	if c, o := m.Current, old.Current; c != nil && o != nil && c.Run == o.Run && newerCheckpoint(c.Checkpoint, o.Checkpoint) {
		c.Checkpoint = o.Checkpoint
		c.Newest, c.Proof = min(c.Newest, o.Newest), min(c.Proof, o.Proof)
	}
	if c, o := m.Current, old.Current; c != nil && o != nil && c.Run == o.Run && !c.DownAt.IsZero() && !o.DownAt.IsZero() {
		c.DownAt, c.ExactAt = o.DownAt, o.ExactAt // of use within seconds alone
	}
	if len(m.Said.Conditions) == len(old.Said.Conditions) {
		for i := range m.Said.Conditions {
			m.Said.Conditions[i].Message = old.Said.Conditions[i].Message
		}
	}
	return same(m, old)
}

// newerCheckpoint reports whether a is a later checkpoint than b of the same run.
func newerCheckpoint(a, b flink.Snapshot) bool {
	return a.Kind == flink.KindCheckpoint && b.Kind == flink.KindCheckpoint && a.Run == b.Run && a.ID > b.ID
}

// same reports whether two memories are the same on record.
func same(a, b Memory) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
