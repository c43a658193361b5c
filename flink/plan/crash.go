package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits of a JobManager that ends again and again before it has its job back. What
// it starts by may be unreadable for good, which a new run is not bound to; or the
// trouble is another, and then the new run has it too and waits, whatever it was.
const (
	crashTimes = 5               // ends in a row
	crashFor   = 5 * time.Minute // since the first of them: the run is replaced
	crashMost  = time.Hour       // at most, where the runs before went the same way
	crashCalm  = time.Hour       // a run that worked for so long has nothing to do with those
)

// CrashRecord counts the ends of a run's JobManager since its job was last seen.
type CrashRecord struct {
	Process string    // that is counted; another one is another chance
	Before  int       // how often it had ended
	Times   int       // how often it has ended since
	Since   time.Time // when the first of these was seen; zero: there is none
}

// noteCrash counts how often a run's JobManager ended without bringing its job back.
func (p *pass) noteCrash(c *RunRecord, s flink.RunObserved) {
	if !c.HA || c.Phase != PhaseProven && s.REST.Job == nil { // before it ran there is nothing to count, nor to put on record
		return
	}
	jm, k := s.JobManager, &c.Crash
	ends := jm.Restarts
	if jm.Ended {
		ends++
	}
	if s.REST.Job != nil || jm.ID != k.Process || ends < k.Before {
		*k = CrashRecord{Process: jm.ID, Before: ends}
		return
	}
	if k.Times = ends - k.Before; k.Times > 0 && k.Since.IsZero() {
		k.Since = p.now
	}
}

// crashed reports whether a run that worked is over, since its JobManager does not stay up.
func (p *pass) crashed(c *RunRecord, s flink.RunObserved) bool {
	k := c.Crash
	if c.Phase != PhaseProven || !s.JobManager.Ended {
		return false
	}
	since := p.now.Sub(k.Since)
	return k.Times >= crashTimes && since >= c.patience() || k.Times > 1 && since >= silentAfter && p.changed(c)
}

// patience is for how long a run's JobManager may end again and again.
func (c *RunRecord) patience() time.Duration {
	return backoff(c.crashesInRow()+1, crashFor, crashMost)
}

// crashesInRow is how many runs right before this one were given up for that.
func (c *RunRecord) crashesInRow() int {
	if c.Crash.Since.Sub(c.PhaseSince) > crashCalm {
		return 0
	}
	return c.Crashes
}

// crashesBefore is the same for a run that follows c.
func crashesBefore(c *RunRecord) int {
	switch {
	case c == nil:
	case c.Phase != PhaseProven:
		return c.Crashes // it did not get so far
	case c.End != nil && c.End.Kind == EndLost && c.Crash.Times >= crashTimes:
		return c.crashesInRow() + 1
	}
	return 0
}

// crashWords says how often a run's JobManager ended, with its last words.
func (p *pass) crashWords(c *RunRecord, s flink.RunObserved) string {
	words := fmt.Sprintf("ended %s in %s and did not bring the job back", times(c.Crash.Times), age(p.now.Sub(c.Crash.Since)))
	if s.JobManager.Reason != "" {
		words += ": it " + bounded(s.JobManager.Reason)
	}
	return words
}

// crashing says why a run whose JobManager ends again and again is down, and for how long it is left to it.
func (p *pass) crashing(c *RunRecord, s flink.RunObserved) Plan {
	how := said{requeue: time.Second}
	if p.now.Sub(c.Crash.Since) > waitingLong {
		how.stalled = "CrashLoop"
	}
	return p.say(Recovering, p.healing(), fmt.Sprintf("Run %s's JobManager %s. Once it stays up it goes on by itself from %s; else the run is given up at %s, and a new one takes the newest checkpoint, if that is known for certain",
		c.Run, p.crashWords(c, s), p.lastSeen(c), clock(c.Crash.Since.Add(c.patience()))), how)
}
