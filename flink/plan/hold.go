package plan

import (
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
)

// held is the plan for a job that a person holds: what is seen goes into memory
// and is told, and so is what would be done. Nothing is done, and nothing that is
// only meant is remembered.
func (p *pass) held() Plan {
	facts := p.m.clone()
	would := p.decide()
	if would.Action == nil && !would.Gone {
		facts.Said = would.Memory.Said
		would.Memory = facts
		return would
	}
	does := "forget the job"
	if would.Action != nil {
		does = would.Action.Kind()
	}
	p.m = facts
	st := would.Status.State
	return p.say(Held, st, fmt.Sprintf("%s; would %s: %s", heldWords(*p.seen.Hold), does, would.Status.Message), said{settled: true, requeue: slow})
}

// heldWords says who holds a job, since when and why.
func heldWords(h flink.Hold) string {
	msg := "Held by " + or(bounded(h.By), "somebody")
	if !h.Since.IsZero() {
		msg += " since " + when(h.Since)
	}
	if h.Reason != "" {
		msg += ": " + bounded(h.Reason)
	}
	return msg
}

// heldCondition says that a job is held. Its time is when the hold was set.
func (p *pass) heldCondition() flink.Condition {
	h := *p.seen.Hold
	c := condition(flink.ConditionHeld, true, "Hold", heldWords(h))
	c.LastTransitionTime = h.Since
	if h.Since.IsZero() {
		c.LastTransitionTime = p.now
		for _, old := range p.m.Said.Conditions {
			if old.Type == flink.ConditionHeld {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return c
}
