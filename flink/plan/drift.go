package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	driftMax    = 5 * time.Minute  // at most between two times of putting the same back
	driftCalm   = 30 * time.Minute // the same while all tasks run: nothing is urgent, and each time may cost an outage
	driftFight  = 4                // so often, and somebody changes it on purpose
	driftListed = 3                // objects named in a message
)

// DriftRecord counts how often a run's objects were put back.
type DriftRecord struct {
	Times int
	At    time.Time // the last time
}

// noteDrift forgets what was put back once that lasted.
func (p *pass) noteDrift(r *RunRecord, s flink.RunObserved) {
	if len(s.Drift) == 0 && r.Drift.Times > 0 && p.now.Sub(r.Drift.At) > provenFor {
		r.Drift = DriftRecord{}
	}
}

// drifted reports whether a run's objects are gone or were changed by hand, and
// whether they are to be put back now: ever later, while that does not last.
func (p *pass) drifted(r *RunRecord, s flink.RunObserved) (is, now bool) {
	is = len(s.Drift) > 0 || r.HA && !s.JobManager.Exists()
	return is, is && !p.now.Before(p.putBackAt(r, s))
}

// putBackAt is when a run's objects may be put back again. It is never given up:
// whoever fights for them may go away without a word.
func (p *pass) putBackAt(r *RunRecord, s flink.RunObserved) time.Time {
	if r.Drift.Times == 0 {
		return time.Time{}
	}
	most := driftMax
	if j := s.REST.Job; j != nil && j.AllRunning() {
		most = driftCalm
	}
	return r.Drift.At.Add(backoff(r.Drift.Times, time.Second, most))
}

// putBack makes again what drifted of a run's objects, or says when.
func (p *pass) putBack(r *RunRecord, s flink.RunObserved) Plan {
	gone := r.HA && !s.JobManager.Exists()
	sit, what := Drifted, driftWords(s.Drift)
	if gone || s.TaskManagersAlive() < int(r.Spec.TaskManagers()) {
		sit = ObjectsMissing
	}
	st := p.healing()
	if j := s.REST.Job; st == flink.Failing && (r != p.m.Current || j != nil && j.AllRunning()) {
		st = p.state(r)
		if r.Phase == PhaseProven {
			st = p.goingOn()
		}
	}
	msg := fmt.Sprintf("Run %s is not as it was made: %s; puts it back", r.Run, or(what, "its JobManager is missing"))
	if gone {
		msg += ", and it goes on by itself from " + p.lastSeen(r)
	}
	if n := r.Drift.Times; n > 0 {
		msg += "; put back " + times(n) + " before"
	}
	how := said{requeue: quick}
	if r.Drift.Times >= driftFight {
		how.stalled = "Drift"
		msg += ", so somebody or something changes it on purpose: find out who, or hold the job"
	}
	if at := p.putBackAt(r, s); p.now.Before(at) {
		how.requeue = at.Sub(p.now)
		return p.say(sit, st, fmt.Sprintf("%s; next try at %s%s", msg, clock(at), lastTry(r)), how)
	}
	r.Drift = DriftRecord{Times: r.Drift.Times + 1, At: p.now}
	how.action = EnsureRun{Launch: p.launchOf(r)}
	return p.say(sit, st, msg+lastTry(r), how)
}

// launchOf is what a run's Flink cluster is brought up from, and put back from.
func (p *pass) launchOf(r *RunRecord) flink.Launch {
	return flink.Launch{
		Run: r.Run, Tenant: p.order.Tenant, Name: p.order.Name, Spec: r.Spec, Generation: r.Generation, Restart: r.Restart,
	}
}

// driftWords names some of what drifted.
func driftWords(drift []string) string {
	shown := drift[:min(len(drift), driftListed)]
	words := bounded(strings.Join(shown, ", "))
	if more := len(drift) - len(shown); more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	return words
}
