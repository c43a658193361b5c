package plan

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits and rhythms of decisions. They are part of the tests' language.
const (
	quick       = 150 * time.Millisecond // between looks while something moves
	slow        = 5 * time.Second        // between looks while nothing does
	lookAgain   = time.Minute            // at the latest
	staleAfter  = 30 * time.Second       // an observation older than this is not acted upon
	silentAfter = 2 * time.Minute        // a JobManager silent this long is lost
	keysAfter   = time.Minute            // one whose REST has other keys than ours is replaced after so long
	warmLimit   = 5 * time.Minute        // a run that does not get ready is given up
	proofLimit  = 5 * time.Second        // Flink's word on where a job came from may be this much later than its tasks
	stopLimit   = 15 * time.Minute       // a savepoint that takes longer is told as a trouble
	stuckLimit  = 20 * time.Second       // an edit waits this long for tasks to run before it does without a savepoint
	vainFor     = 5 * time.Minute        // a start that fails again and again inside Flink is replaced after so long, at first
	vainMost    = time.Hour              // and after so long at most
	cancelLimit = 30 * time.Second       // then the processes are ended
	provenFor   = 10 * time.Minute       // a run that lasted this long clears the failure count
	calmFor     = time.Minute            // so does one that lasted this long and then lost its processes: that is no crash loop
	maxAttempts = 5                      // of one act before its run is given up
	maxExits    = 2                      // a JobManager that ends while it is warmed is started again so often
	maxStarts   = 4                      // starts of one generation that failed for an unclear cause
	backoffMin  = 10 * time.Second
	backoffMax  = 5 * time.Minute
)

// Plan is the answer of Next.
type Plan struct {
	Situation Situation
	Action    Action       // nil: nothing to do now
	Status    flink.Status // what is said about the job
	Memory    Memory       // save BEFORE the action runs
	RequeueAt time.Time    // look again then, or sooner on any change
	Gone      bool         // deleted, and nothing of it is left here
}

// Next says what to do for one job. It is total: every input has an answer, and
// the same input has the same answer. m is not changed.
func Next(o flink.Order, ob flink.Observed, m Memory, now time.Time) Plan {
	p := &pass{order: o, seen: ob, m: m.clone(), now: now}
	if now.Sub(ob.At) > staleAfter {
		return p.wait(StaleObservation, flink.Unknown, slow, "What is known is %s old; not acting on it", age(now.Sub(ob.At)))
	}
	if ob.Blind != "" {
		return p.blind()
	}
	p.adopt()
	p.note()
	if ob.Hold != nil {
		return p.held()
	}
	return p.decide()
}

// blind says that nothing can be seen. Nothing is concluded from that, and nothing but the words is remembered.
func (p *pass) blind() Plan {
	return p.say(Unseen, flink.Unknown, fmt.Sprintf("Its runs cannot be seen: %s; what runs goes on, and nothing of it is changed meanwhile", bounded(p.seen.Blind)),
		said{stalled: string(Unseen), requeue: slow})
}

// decide says what is done about what was seen.
func (p *pass) decide() Plan {
	p.judge()
	if p.order.Deleted {
		return p.delete()
	}
	if pl, ok := p.leftovers(); ok {
		return pl
	}
	p.forgive()
	switch {
	case p.m.Current == nil:
		return p.begin()
	case p.m.Current.End != nil:
		return p.ended()
	case p.m.Current.Phase == PhaseWarming, p.m.Current.Phase == PhaseChecked:
		return p.bringUp(p.m.Current)
	case p.m.Current.Phase == PhaseSubmitted:
		return p.prove()
	}
	return p.keep()
}

// pass is one call of Next: its inputs, and the memory that becomes its output.
type pass struct {
	order flink.Order
	seen  flink.Observed
	m     Memory
	now   time.Time
}

func (m Memory) clone() Memory {
	for _, r := range []**RunRecord{&m.Current, &m.Next, &m.Previous} {
		if *r == nil {
			continue
		}
		c := **r
		if c.End != nil {
			c.End = new(*c.End)
		}
		*r = &c
	}
	if m.Refused != nil {
		m.Refused = new(*m.Refused)
	}
	m.Said.Conditions = append([]flink.Condition(nil), m.Said.Conditions...)
	m.Said.Transitions = append([]flink.Transition(nil), m.Said.Transitions...)
	return m
}

// look is what was seen of a run; the zero value when nothing of it exists.
func (p *pass) look(r *RunRecord) flink.RunObserved {
	if r != nil {
		for _, s := range p.seen.Runs {
			if s.Run == r.Run {
				return s
			}
		}
	}
	return flink.RunObserved{}
}

func (p *pass) suspend() bool { return p.order.Spec.State == flink.StateSuspended }

// outdated reports whether a run is to be replaced: the order asks for something else, and that can start.
func (p *pass) outdated(r *RunRecord) bool { return p.differs(r) && !p.refused() }

// differs reports whether a run was started from something else than the order now asks for.
func (p *pass) differs(r *RunRecord) bool {
	return r.Run.Term != p.order.Term || r.Restart != p.order.Restart || needsRun(r.Spec, p.order.Spec)
}

// refused reports whether the order's generation is known to be unable to start.
func (p *pass) refused() bool {
	f := p.m.Refused
	return f != nil && f.Generation == p.order.Generation && f.Restart == p.order.Restart
}

// forgive drops what was held against an older order, or against a place that
// was smaller, and lets a run of an equal spec stand for the new generation.
func (p *pass) forgive() {
	if w := (Wanted{p.order.Generation, p.order.Restart}); p.m.Wanted != w {
		p.m.Wanted = w
		p.m.Failures, p.m.RetryAt = 0, time.Time{}
		p.m.Savepoint = SavepointRecord{}
	}
	if f := p.m.Refused; f != nil {
		total := p.seen.Room.MemoryTotal
		fits := total <= 0 || p.order.Spec.MemoryBytes() <= total
		if !p.refused() || f.Reason == string(flink.RefusedNoRoom) && fits {
			p.m.Refused = nil
		}
	}
	if c := p.m.Current; c != nil && c.Generation != p.order.Generation && !p.differs(c) &&
		(c.End == nil || c.End.Kind == EndFinished) {
		c.Generation, c.Spec = p.order.Generation, p.order.Spec
	}
}

// fresh reports whether the order is the user's word to start empty: a change of
// the spec, or a resume, with upgradeMode stateless.
func (p *pass) fresh() bool {
	c := p.m.Current
	return !p.order.Spec.Stateful() && c != nil && c.Generation != p.order.Generation && !p.goesOn()
}

// wordGone reports whether a run whose job is not handed in yet would start empty
// on a word of the user that stands no more: upgradeMode was stateless then. A run
// of an older spec that goes on keeps that spec's word.
func (p *pass) wordGone(r *RunRecord) bool {
	return r.Intended == "" && p.m.HadSnapshot && r.Spec.Stateful()
}

// goesOn reports whether the current run is over, unasked, and its spec is to run
// again because the order's cannot start: a bad edit stops no healthy stream, not
// even one that has to be healed meanwhile.
func (p *pass) goesOn() bool {
	c := p.m.Current
	if c == nil || c.End == nil || !c.Good || !p.refused() || !p.differs(c) {
		return false
	}
	if c.End.Kind == EndStopped && c.HAFault != "" {
		return true // stopped only to be replaced
	}
	return c.End.Kind == EndLost || c.End.Kind == EndFailed || c.End.Kind == EndAbandoned
}

// wanted is the order whose spec the next run is started from.
func (p *pass) wanted() (flink.Spec, Wanted) {
	if p.goesOn() {
		c := p.m.Current
		return c.Spec, Wanted{c.Generation, c.Restart}
	}
	return p.order.Spec, Wanted{p.order.Generation, p.order.Restart}
}

// newRun hands out the next run number and records the intent to start it.
func (p *pass) newRun(cold bool) *RunRecord {
	if p.m.Term != p.order.Term {
		p.m.Term, p.m.LastRun = p.order.Term, 0
	}
	p.m.LastRun++
	spec, w := p.wanted()
	c := p.m.Current
	return &RunRecord{
		Run:        flink.Run{UID: p.order.UID, Term: p.order.Term, Run: p.m.LastRun},
		Generation: w.Generation, Restart: w.Restart, Spec: spec, Good: c != nil && c.Good && !needsRun(c.Spec, spec),
		Phase: PhaseWarming, Cold: cold, Since: p.now, PhaseSince: p.now, Crashes: crashesBefore(c),
	}
}

// refuse records that the order's generation cannot start. r is the run that told,
// nil for none.
func (p *pass) refuse(r *RunRecord, reason, format string, args ...any) {
	if r != nil {
		r.Good = false
	}
	p.m.Refused = &RefusedRecord{
		Generation: p.order.Generation, Restart: p.order.Restart,
		Reason: reason, Message: fmt.Sprintf(format, args...), At: p.now,
	}
}

// failedStart counts a start that did not last and says when the next may come.
func (p *pass) failedStart() {
	p.m.Failures++
	p.m.RetryAt = p.now.Add(backoff(p.m.Failures, backoffMin, backoffMax))
}

// backoff is min·2^(n-1), at most limit, for the n-th failure in a row.
func backoff(n int, least, limit time.Duration) time.Duration {
	d := least
	for i := 1; i < n && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}

// age is a duration for people.
func age(d time.Duration) string { return d.Round(time.Second).String() }

// needsRun reports whether going from one spec to another takes a new run: what
// only steers later decisions (upgrade mode, switch, start snapshot, desired state) does not.
func needsRun(from, to flink.Spec) bool {
	for _, s := range []*flink.Spec{&from, &to} {
		s.State, s.UpgradeMode, s.Switch, s.StartFrom, s.Cluster = "", "", "", flink.StartFrom{}, ""
	}
	return !flink.SpecEqual(from, to)
}
