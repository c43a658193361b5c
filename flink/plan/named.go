package plan

import (
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
)

// namesStart reports whether a restart named the snapshot that the next run starts
// from, and no run has started from it yet: that counts more than anything on record.
// A restart that cannot be done names nothing.
func (p *pass) namesStart() bool {
	return p.order.RestartFrom != "" && p.m.StartedFrom != p.order.Restart && !p.refused()
}

// startNamed records that a run starts from the snapshot that the restart named.
// By the user's word that is the newest from now on.
func (p *pass) startNamed(r *RunRecord) {
	if !p.namesStart() || r.Restart != p.order.Restart || r.Intended != flink.NormalizePath(p.order.RestartFrom) {
		return
	}
	if c := p.m.Current; c != nil && c.End != nil && c.End.Listed {
		r.Instead, r.InsteadKnown = p.m.Snapshot, true
	}
	p.m.StartedFrom = p.order.Restart
	p.startedFrom(r.Intended)
}

// takeBackNamed forgets that a run was to start from the snapshot that a restart
// named, since its job was never handed in: if that restart still counts last, the
// next run starts from there, else from the job's own newest.
func (p *pass) takeBackNamed(r *RunRecord) {
	if !r.InsteadKnown || r.Phase == PhaseSubmitted || p.m.Snapshot.Path != r.Intended {
		return
	}
	p.m.Snapshot, p.m.StartedFrom = r.Instead, 0
}

// backToOwn takes back the job's own newest snapshot after a start from one that a
// restart named came to nothing, and says so.
func (p *pass) backToOwn(c *RunRecord) string {
	if c.Instead.IsZero() || !c.RunningAt.IsZero() || c.Newest > 0 || p.m.Snapshot.Path != c.Intended {
		return ""
	}
	p.m.Snapshot = c.Instead
	return fmt.Sprintf("; a `restart` without --from goes on from the job's own newest, %s", c.Instead.Path)
}

// toNamed says, of a run that is stopped, what its savepoint is for when a restart named another snapshot.
func (p *pass) toNamed() string {
	if !p.namesStart() {
		return ""
	}
	stays := ""
	if p.saves() {
		stays = ", and the savepoint stays"
	}
	return fmt.Sprintf("; the next one starts from %s, as the restart says%s", p.order.RestartFrom, stays)
}

// checkNamed asks whether the snapshot that a restart named is there, before
// anything that runs is touched. A place that cannot be looked at from here is left to Flink.
func (p *pass) checkNamed(st flink.JobState) (Plan, bool) {
	path := p.order.RestartFrom
	switch k := p.seen.SnapshotCheck; {
	case k == nil || k.Path != path:
		return p.wait(CheckingSnapshot, st, quick, "Looks for the snapshot %s that the restart names", path), false
	case k.Err == "" && !k.Exists:
		p.refuse(nil, "SnapshotMissing", "restart --from %s: there is no complete snapshot at that path", path)
		return Plan{}, false
	}
	return Plan{}, true
}

// ask leaves it to a person where to start from, since that is not to be known for certain here.
func (p *pass) ask(c *RunRecord, sit Situation, why string) Plan {
	p.m.Next = nil
	seen := "no checkpoint of it was seen, and if there is none an edit to upgradeMode stateless starts it empty"
	if !p.m.Snapshot.IsZero() {
		seen = "the last one seen is " + p.m.Snapshot.Path
	}
	if c.StopDir != "" {
		seen += ", and it was being stopped with a savepoint below " + c.StopDir
	}
	return p.say(sit, flink.Failed, fmt.Sprintf("Run %s is over (%s), and %s: %s; there may be a newer one. Find it and run `waterwheel restart %s --from PATH`%s",
		c.Run, p.why(c), why, seen, p.order.Name, p.notNamed()), said{stalled: string(sit), requeue: slow})
}

// notNamed says why the snapshot that a restart named is not started from.
func (p *pass) notNamed() string {
	if !p.refused() || p.order.RestartFrom == "" || p.m.StartedFrom == p.order.Restart {
		return ""
	}
	return ". Not started: " + p.m.Refused.Message
}
