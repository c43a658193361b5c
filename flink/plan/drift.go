package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	driftMax    = 5 * time.Minute // at most between two times of putting the same back
	driftFight  = 4               // so often, and somebody changes it on purpose
	driftListed = 3               // objects named in a message
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

// putBack makes a run's objects again that are gone or were changed by hand.
// drifted is false when none is; now is false while it waits before the next try.
func (p *pass) putBack(r *RunRecord, s flink.RunObserved) (pl Plan, now, drifted bool) {
	gone := r.HA && !s.JobManager.Exists()
	if len(s.Drift) == 0 && !gone {
		return Plan{}, false, false
	}
	sit, what := Drifted, driftWords(s.Drift)
	if gone || s.TaskManagersAlive() < int(r.Spec.TaskManagers()) {
		sit = ObjectsMissing
	}
	if what == "" {
		what = "its JobManager is missing"
	}
	st := p.healing()
	if s.REST.Job != nil && s.REST.Job.AllRunning() && st == flink.Failing {
		st = p.goingOn()
	}
	msg := fmt.Sprintf("Run %s is not as it was made: %s; puts it back", r.Run, what)
	if gone && len(p.lastSeen(r)) > 0 {
		msg += ", and it goes on by itself from " + p.lastSeen(r)
	}
	if n := r.Drift.Times; n > 0 {
		msg += fmt.Sprintf("; done %d times before", n)
	}
	stalled := ""
	if r.Drift.Times >= driftFight {
		stalled = "Drift"
		msg += ", so somebody or something changes it on purpose: find out who, or hold the job"
	}
	at := time.Time{}
	if r.Drift.Times > 0 {
		at = r.Drift.At.Add(backoff(r.Drift.Times, time.Second, driftMax))
	}
	if p.now.Before(at) {
		return p.say(sit, st, fmt.Sprintf("%s; next try at %s%s", msg, clock(at), lastTry(r)), said{stalled: stalled, requeue: at.Sub(p.now)}), false, true
	}
	r.Drift = DriftRecord{Times: r.Drift.Times + 1, At: p.now}
	return p.say(sit, st, msg+lastTry(r), said{
		action: EnsureRun{Launch: p.launchOf(r)}, stalled: stalled, requeue: quick,
	}), true, true
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
