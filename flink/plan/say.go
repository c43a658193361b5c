package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// said is what a sentence carries beside its words.
type said struct {
	action  Action
	ready   bool
	stalled string // reason; empty: not stalled
	settled bool   // nothing is under way
	requeue time.Duration
}

// wait says what is waited for.
func (p *pass) wait(sit Situation, st flink.JobState, d time.Duration, format string, args ...any) Plan {
	return p.say(sit, st, fmt.Sprintf(format, args...), said{requeue: d})
}

// rest says that all is as it should be, with nothing running.
func (p *pass) rest(sit Situation, st flink.JobState, format string, args ...any) Plan {
	return p.say(sit, st, fmt.Sprintf(format, args...), said{settled: true, requeue: time.Minute})
}

// act says what is done now.
func (p *pass) act(sit Situation, st flink.JobState, a Action, format string, args ...any) Plan {
	return p.say(sit, st, fmt.Sprintf(format, args...), said{action: a, requeue: quick})
}

// say makes the plan: status, conditions, transitions, memory.
func (p *pass) say(sit Situation, st flink.JobState, msg string, s said) Plan {
	msg, s = p.tellWaiting(sit, msg, s)
	status := flink.Status{
		RecordedGeneration: p.order.Generation, State: st, Term: p.order.Term,
		Situation: string(sit), Message: msg, AsOf: p.seen.At, Snapshot: p.m.Snapshot,
	}
	if c := p.m.Current; c != nil {
		p.describe(&status, c)
	} else if p.suspend() {
		status.ObservedGeneration = p.order.Generation
	}
	ready := s.ready && status.ObservedGeneration == p.order.Generation
	conds := []flink.Condition{
		condition(flink.ConditionReady, ready, string(sit), msg),
		condition(flink.ConditionReconciling, !s.ready && !s.settled && s.stalled == "", string(sit), msg),
		condition(flink.ConditionStalled, s.stalled != "", or(s.stalled, string(sit)), msg),
	}
	if st == flink.Unknown {
		conds[0].Status = flink.UnknownStatus
	}
	status.Conditions = p.since(conds)
	if p.seen.Hold != nil {
		status.Conditions = append(status.Conditions, p.heldCondition())
	}
	p.transition(sit, st, msg, status.Run)
	status.Transitions = p.m.Said.Transitions
	p.m.Said.Conditions = status.Conditions
	p.m.Said.Situation, p.m.Said.State = sit, st
	if s.action == nil && len(p.left()) > 0 {
		s.requeue = quick // a run was given up in this pass
	}
	return Plan{
		Situation: sit, Action: s.action, Status: status, Memory: p.m,
		RequeueAt: p.now.Add(min(max(s.requeue, quick), lookAgain)),
	}
}

// restate renames the situation of a plan that was just made.
func (p *pass) restate(pl Plan, sit Situation) Plan {
	pl.Situation, pl.Status.Situation = sit, string(sit)
	pl.Memory.Said.Situation = sit
	if n := len(pl.Memory.Said.Transitions); n > 0 {
		pl.Memory.Said.Transitions[n-1].Situation = string(sit)
	}
	return pl
}

// describe adds what is known of the current run.
func (p *pass) describe(st *flink.Status, c *RunRecord) {
	s := p.look(c)
	st.ObservedGeneration, st.Run = c.Generation, c.Run.Run
	st.Restored = flink.RestoredStatus{Intended: c.Intended, Actual: c.Restored, Proven: c.Phase == PhaseProven}
	dirs := config.Dirs(c.Spec.StateStorage.Root, p.order.Tenant, c.Run)
	st.Links = flink.Links{FlinkUI: s.Endpoint, CheckpointsDir: dirs.Checkpoints, SavepointsDir: dirs.Savepoints}
	if !s.JobManager.Exists() {
		st.Links.FlinkUI = ""
	}
	if s.JobManager.Log != "" {
		st.Links.Logs = append(st.Links.Logs, s.JobManager.Log)
	}
	for _, t := range s.TaskManagers {
		if t.Exists() && t.Log != "" {
			st.Links.Logs = append(st.Links.Logs, t.Log)
		}
	}
	st.Flink = flink.FlinkStatus{JobID: c.Run.JobID(), Version: s.REST.FlinkVersion}
	if j := s.REST.Job; j != nil {
		st.Flink.State, st.Flink.TasksRunning, st.Flink.TasksTotal = j.State, j.TasksRunning, j.TasksTotal
		st.Flink.Parallelism, st.Flink.Checkpoints, st.Flink.StartTime = j.Parallelism, j.Completed, j.StartTime
	}
}

func condition(typ string, is bool, reason, msg string) flink.Condition {
	c := flink.Condition{Type: typ, Status: flink.False, Reason: reason, Message: msg}
	if is {
		c.Status = flink.True
	}
	return c
}

// since gives each condition the time at which its status last changed.
func (p *pass) since(conds []flink.Condition) []flink.Condition {
	for i := range conds {
		conds[i].LastTransitionTime = p.now
		for _, old := range p.m.Said.Conditions {
			if old.Type == conds[i].Type && old.Status == conds[i].Status {
				conds[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return conds
}

// transition remembers a change of situation or state, the last MaxTransitions of them.
func (p *pass) transition(sit Situation, st flink.JobState, msg string, run int32) {
	if sit == p.m.Said.Situation && st == p.m.Said.State {
		return
	}
	t := flink.Transition{At: p.now, Situation: string(sit), State: st, Message: msg, Run: run}
	p.m.Said.Transitions = append(p.m.Said.Transitions, t)
	p.m.Said.Transitions = p.m.Said.Transitions[max(0, len(p.m.Said.Transitions)-flink.MaxTransitions):]
}

// times is a count for people.
func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// exit says how a process ended.
func exit(p flink.Process) string {
	msg := fmt.Sprintf("ended with exit code %d", p.ExitCode)
	if p.ExitCode < 0 {
		msg = "ended, and its exit code is not known"
	}
	if p.Reason != "" {
		msg += ": " + p.Reason
	}
	return msg
}

// lastWords says how the TaskManager ended that a failure names: Flink itself
// knows only that it is not to be reached.
func lastWords(s flink.RunObserved, c flink.Cause) string {
	for _, t := range s.TaskManagers {
		if t.State == flink.ProcessExited && t.ID != "" && strings.Contains(c.Message, t.ID+" ") {
			return "; it " + exit(t)
		}
	}
	return ""
}
