package plan_test

import (
	"reflect"
	"slices"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// pass is one pass of the agent: observe, plan, save, act. It holds the plan against the laws that every pass keeps.
func (w *world) pass() plan.Plan {
	ob := w.observe()
	before := clone(w.mem)
	p := plan.Next(w.order, ob, w.mem, w.now)
	if !reflect.DeepEqual(before, w.mem) {
		w.sin("Next changed the memory it was given")
	}
	if again := plan.Next(w.order, ob, w.mem, w.now); !reflect.DeepEqual(p, again) {
		w.sin("the same input has two answers: %s and %s", p.Situation, again.Situation)
	}
	w.judge(ob, p)
	if ob.Newest != nil {
		w.told[ob.Newest.Snapshot.Path] = true
	}
	for _, r := range ob.Runs {
		if r.REST.Job != nil && p.Situation != plan.StaleObservation {
			w.shown[r.Run.JobID()] = true
			w.told[r.REST.Job.Latest.Path] = true
			if r.REST.Job.ID == w.unheard && flink.JobTerminal(r.REST.Job.State) {
				w.unheard = ""
			}
		}
	}
	crash := ""
	if p.Action != nil {
		crash, w.fault.crash = w.fault.crash, ""
	}
	w.mem = p.Memory
	if p.Action == nil && w.hold == nil {
		w.collect(p)
	}
	if p.Action == nil || crash == "before" {
		return p
	}
	out := w.act(p.Action)
	if crash == "" {
		w.mem = plan.Note(w.mem, p.Action, out, w.now)
	}
	return p
}

// clone is a copy of m deep enough to see a change of it.
func clone(m plan.Memory) plan.Memory {
	for _, r := range []**plan.RunRecord{&m.Current, &m.Next, &m.Previous} {
		if *r != nil {
			c := **r
			if c.End != nil {
				c.End = new(*c.End)
			}
			*r = &c
		}
	}
	if m.Refused != nil {
		m.Refused = new(*m.Refused)
	}
	m.Said.Conditions = append([]flink.Condition(nil), m.Said.Conditions...)
	m.Said.Transitions = append([]flink.Transition(nil), m.Said.Transitions...)
	return m
}

// judge holds one plan against the laws.
func (w *world) judge(ob flink.Observed, p plan.Plan) {
	w.judgeWords(p)
	if w.hold != nil && (p.Action != nil || p.Gone) {
		w.sin("held, and yet acts: %s", p.Situation)
	}
	switch a := p.Action.(type) {
	case plan.EnsureRun:
		if w.order.Deleted && !w.hasJob(a.Launch.Run) && !unheard(ob, a.Launch.Run) {
			w.sin("a deleted job gets processes for %s", a.Launch.Run)
		}
		if w.order.Spec.State == flink.StateSuspended && w.find(a.Launch.Run) == nil {
			w.sin("a suspended job gets a new run %s", a.Launch.Run)
		}
	case plan.Submit:
		for _, r := range ob.Runs {
			if r.Run == a.Run || r.REST.Job == nil {
				continue
			}
			if !flink.JobTerminal(r.REST.Job.State) {
				w.sin("%s is to be handed in while the job of %s is %s (L5)", a.Run, r.Run, r.REST.Job.State)
			}
		}
		if c := p.Memory.Current; c == nil || c.Run != a.Run || c.Phase != plan.PhaseSubmitted || c.Intended != a.Submission.SnapshotPath {
			w.sin("the hand-in of %s is not on record before it is done", a.Run)
		}
		if pr := p.Memory.Previous; pr != nil && pr.End == nil {
			w.sin("%s is to be handed in, and the end of %s is not on record (L5)", a.Run, pr.Run)
		}
	case plan.EndRun:
		w.judgeEnd(a, p)
	}
}

func (w *world) hasJob(id flink.Run) bool {
	r := w.find(id)
	return r != nil && (r.job != nil || r.kube != nil && r.kube.graph)
}

// unheard reports whether a run's JobManager is there and has not told whether it has the job: what is missing of such a
// run may be put back, or it could never be asked.
func unheard(ob flink.Observed, id flink.Run) bool {
	return slices.ContainsFunc(ob.Runs, func(r flink.RunObserved) bool {
		return r.Run == id && r.JobManager.Exists() && !r.REST.JobsListed
	})
}

// judgeEnd holds that nothing healthy is ended, and no old run before the new one is proven.
func (w *world) judgeEnd(a plan.EndRun, p plan.Plan) {
	r := w.find(a.Run)
	c := w.mem.Current
	decided := c != nil && c.Run == a.Run && c.End != nil // what comes up between an end and its being carried out changes nothing
	if !decided && r != nil && r.kube != nil && !r.silent.IsZero() && !r.strange && r.leads(w.now) && r.job != nil && !flink.JobTerminal(r.job.state) && !w.order.Deleted {
		w.sin("%s is ended as %s although its JobManager leads: %s", a.Run, p.Situation, p.Status.Message)
	}
	if r == nil || r.job == nil || flink.JobTerminal(r.job.state) || !r.silent.IsZero() {
		return
	}
	if c := p.Memory.Current; c != nil && c.Run == a.Run && c.End == nil {
		w.sin("%s is to be ended, and its end is not on record", a.Run)
	}
	if r.job.state == flink.JobRunning && r.slots(w.now) && !w.order.Deleted && len(r.others) == 0 &&
		p.Situation != plan.RestoredWrong && p.Situation != plan.StartImpossible && p.Situation != plan.OldRunNotEnded {
		w.sin("the healthy job of %s is ended as %s: %s", a.Run, p.Situation, p.Status.Message)
	}
}

// judgeWords holds a plan's status against what every status promises.
func (w *world) judgeWords(p plan.Plan) {
	st := p.Status
	if st.Message == "" || st.Situation == "" || st.State == "" || st.Situation != string(p.Situation) {
		w.sin("a status without words: %+v", st)
	}
	if d := p.RequeueAt.Sub(w.now); d <= 0 || d > time.Minute {
		w.sin("%s looks again in %s", p.Situation, d)
	}
	if len(st.Transitions) > flink.MaxTransitions {
		w.sin("%d transitions", len(st.Transitions))
	}
	if want := 3 + w.heldBy(); len(st.Conditions) != want {
		w.sin("%d conditions", len(st.Conditions))
	}
	for _, typ := range []string{flink.ConditionReady, flink.ConditionReconciling, flink.ConditionStalled} {
		c, old := st.Condition(typ), flink.Condition{}
		for _, o := range w.mem.Said.Conditions {
			if o.Type == typ {
				old = o
			}
		}
		if c.Type == "" || c.Status == "" || c.Reason == "" {
			w.sin("condition %s is %+v", typ, c)
		}
		if moved := !c.LastTransitionTime.Equal(old.LastTransitionTime); moved != (c.Status != old.Status) {
			w.sin("condition %s went from %s to %s, and its time from %s to %s", typ, old.Status, c.Status, old.LastTransitionTime, c.LastTransitionTime)
		}
	}
	if st.Condition(flink.ConditionReady).Status == flink.True && (st.State != flink.Running || st.ObservedGeneration != w.order.Generation) {
		w.sin("Ready while %s at generation %d of %d", st.State, st.ObservedGeneration, w.order.Generation)
	}
	if p.Action == nil || p.Memory.Current == nil {
		return
	}
	if p.Situation == plan.InSync || p.Situation == plan.JobFinished || p.Situation == plan.SuspendedInSync {
		w.sin("%s, and yet acts: %s", p.Situation, p.Action.Kind())
	}
}

// heldBy is how many persons hold the job.
func (w *world) heldBy() int {
	if w.hold != nil {
		return 1
	}
	return 0
}
