package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// Limits for a run with high availability, which heals itself.
const (
	hungAfter  = 5 * time.Minute  // a JobManager silent this long, without its lease and for no known reason, is hung
	leaseDead  = 2 * time.Minute  // a lease not renewed for this long is held by nobody
	leaseQuick = 6 * time.Second  // one renewed since then is held by a JobManager that works; nobody else leads before
	goneFor    = 10 * time.Second // a job that is neither there nor on record this long is over
	comesBack  = 10 * time.Minute // one on record that does not come is not waited for longer
	troubled   = 3 * time.Minute  // a recovery that takes longer is told as a trouble
	readAfter  = time.Second      // what a run's last process wrote is on record everywhere by then
	exactFor   = 2 * time.Second  // pointers read while no task ran are the last word for this long
)

// Why what a run has on record of its checkpoints is not to be believed; condition reasons too.
const (
	faultData     = "HADataDamaged"
	faultRestored = "RestoredWrong"
	faultUnseen   = "SnapshotsUnread" // it ended while nobody looked: a savepoint may be newer than all of them
)

// Life is one life of a run's job: from one JobManager's start of it to the next.
type Life struct {
	Start     time.Time // Flink's word; a job that another JobManager takes over has a new one
	First     bool      // the one that was handed in: prove looks after it
	RunningAt time.Time // when all its tasks were first seen to run
	Proven    bool      // it came from where it should
}

// noteHA takes what a run's high availability data says, and which life its job is in.
func (p *pass) noteHA(c *RunRecord, s flink.RunObserved) {
	if s.HA == nil {
		return
	}
	c.HA = true
	p.noteLife(c, s)
	defer p.noteDown(c, s)
	h, j := *s.HA, s.REST.Job
	if h.Err != "" {
		return
	}
	switch {
	case c.HAFault == "" && h.Graph && !h.Pointers && c.Pointers: // a JobManager that starts again starts it empty
		c.HAFault = faultData
	case c.HAFault == "" && !h.Graph && j != nil && !flink.JobTerminal(j.State) && c.Phase == PhaseProven && c.Life.Proven: // it starts nothing
		c.HAFault = faultData
	case h.Graph && h.Pointers && c.HAFault == faultData && j != nil && c.Life.Proven:
		c.HAFault = "" // the JobManager that had them wrote them again
	}
	c.Pointers = c.Pointers || h.Pointers
	if !h.Pointers || c.HAFault != "" || j != nil && !c.Life.Proven {
		return
	}
	if own(c, h.Newest) {
		p.takePointer(c, h.Newest)
		if j != nil {
			c.Proof = max(c.Proof, h.Newest)
		}
	}
	if lasts := s.JobManager.Waiting != "" || p.silence(s) > hungAfter; !lasts && c.recently(c.DownAt, p.now) {
		c.ExactAt = p.seen.At // read after its tasks were seen not to run, and they do not yet
	}
}

// recently reports whether a look at a run is so short ago that nothing was completed since.
func (c *RunRecord) recently(at, now time.Time) bool {
	return !at.IsZero() && now.Sub(at) <= exactFor
}

// noteDown remembers when a run's tasks were last seen not to run, while that may end.
func (p *pass) noteDown(c *RunRecord, s flink.RunObserved) {
	j := s.REST.Job
	switch {
	case j != nil && j.AllRunning():
		c.DownAt, c.ExactAt = time.Time{}, time.Time{}
	case s.JobManager.Waiting == "" && p.silence(s) <= hungAfter:
		c.DownAt = p.seen.At
	}
}

// noteLife remembers the life that a run's job is in, and since when it is not there.
func (p *pass) noteLife(c *RunRecord, s flink.RunObserved) {
	j := s.REST.Job
	switch {
	case j == nil && s.REST.JobsListed && c.Absent.IsZero():
		c.Absent = p.now
	case j != nil || !s.REST.Reachable:
		c.Absent = time.Time{}
	}
	if j == nil || j.StartTime.IsZero() {
		return
	}
	if !j.StartTime.Equal(c.Life.Start) {
		first := c.Life.Start.IsZero()
		c.Life = Life{Start: j.StartTime, First: first, Proven: first && c.Phase == PhaseProven}
		if first && c.StartReason == adopted && c.Restored == "" && j.Restored != nil {
			c.Restored, c.RestoredID = flink.NormalizePath(j.Restored.Path), j.Restored.ID
			c.Intended = c.Restored
		}
	}
	if j.AllRunning() && c.Life.RunningAt.IsZero() {
		c.Life.RunningAt = p.now
	}
}

// own reports whether checkpoint n on a run's record is one of its own: the
// snapshot that it came from stands there too, under its old number.
func own(c *RunRecord, n int64) bool {
	known := c.Restored != "" || c.Intended == "" && c.StartReason != adopted
	return known && n > c.RestoredID
}

// takePointer takes the word of a run's high availability data that it completed
// checkpoint n, if that is newer than what is known.
func (p *pass) takePointer(c *RunRecord, n int64) {
	if n <= c.Newest {
		return
	}
	dir := config.Dirs(c.Spec.StateStorage.Root, p.order.Tenant, c.Run).Checkpoints
	k := flink.Snapshot{
		Path: flink.NormalizePath(fmt.Sprintf("%s/%s/chk-%d", dir, c.Run.JobID(), n)), Kind: flink.KindCheckpoint,
		ID: n, CompletedAt: p.seen.At, Run: c.Run,
	}
	c.Checkpoint, c.Newest = k, n
	p.m.Snapshot, p.m.HadSnapshot = k, true
}

// lifeFits reports whether Flink's word on where a life of a run's job came from
// fits what the run had completed before: its newest checkpoint or a later one, or
// what the run came from while it had none.
func lifeFits(c *RunRecord, j flink.JobObserved) (why string, ok bool) {
	switch n, is := ownCheckpoint(c, j); {
	case is && n >= c.Proof:
		return "", true
	case is:
		return fmt.Sprintf("its JobManager brought it back from checkpoint %d, and %d was completed", n, c.Proof), false
	case c.Proof > 0 && j.Restored == nil:
		return fmt.Sprintf("its JobManager started it empty, and checkpoint %d was completed", c.Proof), false
	case c.Proof > 0:
		return fmt.Sprintf("its JobManager brought it back from %s, and checkpoint %d was completed", flink.NormalizePath(j.Restored.Path), c.Proof), false
	}
	return restoredFits(c, j)
}

// ownCheckpoint is the number of the run's own checkpoint that a job came back from.
func ownCheckpoint(c *RunRecord, j flink.JobObserved) (int64, bool) {
	if j.Restored == nil || !strings.Contains(flink.NormalizePath(j.Restored.Path), "/"+c.Run.JobID()+"/chk-") {
		return 0, false
	}
	return flink.CheckpointID(j.Restored.Path)
}

// lastWord records what a job that is terminal left, if its own JobManager or its
// high availability data tells that for certain: then nothing has to be listed.
func (p *pass) lastWord(c *RunRecord, s flink.RunObserved) {
	j := s.REST.Job
	if !c.HA || c.End.Listed || c.HAFault != "" || j.State != flink.JobFailed && j.State != flink.JobCanceled {
		return
	}
	if _, ok := lifeFits(c, *j); !ok && !c.Life.Proven && (j.Restored != nil || !c.Life.RunningAt.IsZero()) {
		return // it came back from elsewhere: nothing it says counts
	}
	if n, is := ownCheckpoint(c, *j); is {
		p.takePointer(c, n)
	}
	_, back := ownCheckpoint(c, *j)
	storage := j.Cause != nil && failure.ClassifyCause(j.Cause, failure.AtRunning).ID == "storage-broken"
	switch {
	case !j.Latest.IsZero() && j.Latest.Path == c.Checkpoint.Path: // Flink's newest is the newest that is known
	case j.Latest.IsZero() && back && j.Restored.ID >= c.Newest:
	case j.Latest.IsZero() && j.Restored != nil && c.Newest == 0: // it wrote none
	case c.recently(c.ExactAt, p.now):
	case c.Newest == 0 && c.RunningAt.IsZero() && c.Phase == PhaseSubmitted: // it never ran
	case c.Newest == 0 && c.Intended == "" && !storage:
	default:
		return // after a broken storage Flink forgets its checkpoints: what was seen is a lower bound
	}
	p.settle(c)
}

// settle takes the newest checkpoint known of a run that is over as what it left.
func (p *pass) settle(c *RunRecord) {
	c.End.Listed = true
	if c.Checkpoint.IsZero() {
		return
	}
	c.End.Snapshot = c.Checkpoint
	p.m.Snapshot, p.m.HadSnapshot = c.Checkpoint, true
}

// notePointers completes the record of a run that is over, and of which no process
// is left, from its high availability data: nobody writes that any more.
func (p *pass) notePointers(c *RunRecord, s flink.RunObserved) {
	h := s.HA
	if p.now.Sub(c.End.GoneAt) < readAfter {
		return
	}
	if !c.HA || h == nil || h.Err != "" || !h.Pointers || c.HAFault != "" || c.End.Kind == EndStopped {
		return
	}
	if known := c.Restored != "" || c.Intended == "" && c.StartReason != adopted; !known || h.Newest < c.Newest {
		return
	}
	if own(c, h.Newest) {
		p.takePointer(c, h.Newest)
	}
	p.settle(c)
}
