package reconcile

import (
	"testing"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

func TestAJobKeepsItsRoomBetweenTwoRuns(t *testing.T) {
	run := flink.Run{UID: "j", Term: 1, Run: 1}
	spec := flink.Default(flink.Spec{})
	all := spec.MemoryBytes()
	alive := []flink.RunObserved{{Run: run, Memory: all}}
	for name, c := range map[string]struct {
		situation plan.Situation
		state     flink.JobState
		action    plan.Action
		runs      []flink.RunObserved
		none      bool // no run is on record
		want      int64
	}{
		"running":                     {plan.InSync, flink.Running, nil, alive, false, 0},
		"its processes are ended":     {plan.OldRunNotEnded, flink.Upgrading, plan.EndRun{Run: run}, alive, false, all},
		"its processes are gone":      {plan.BackingOff, flink.Failing, nil, nil, false, all},
		"coming up":                   {plan.Warming, flink.Starting, nil, nil, false, all},
		"another run of it is ended":  {plan.Leftovers, flink.Running, plan.EndRun{Run: flink.Run{UID: "j", Term: 1, Run: 2}}, alive, false, 0},
		"it waits for room":           {plan.NoRoom, flink.Upgrading, nil, nil, false, 0},
		"it never ran":                {plan.CheckingSnapshot, flink.Starting, nil, nil, true, 0},
		"suspended":                   {plan.SuspendedInSync, flink.Suspended, nil, nil, false, 0},
		"finished":                    {plan.JobFinished, flink.Finished, nil, nil, false, 0},
		"failed, with nothing to run": {plan.StartImpossible, flink.Failed, nil, nil, false, 0},
		"deleted":                     {plan.Deleting, flink.Deleting, plan.EndRun{Run: run}, alive, false, 0},
	} {
		p := plan.Plan{Situation: c.situation, Action: c.action, Status: flink.Status{State: c.state}}
		if !c.none {
			p.Memory.Current = &plan.RunRecord{Run: run, Spec: spec}
		}
		if got := claim(p, c.runs); got != c.want {
			t.Errorf("%s: claims %d, want %d of %d", name, got, c.want, all)
		}
	}
}

func TestAJobsOwnClaimDoesNotStandAgainstIt(t *testing.T) {
	var c claims
	c.set("a", 3)
	c.set("b", 5)
	if c.others("a") != 5 || c.others("b") != 3 || c.others("c") != 8 {
		t.Errorf("a sees %d, b %d, c %d", c.others("a"), c.others("b"), c.others("c"))
	}
	c.set("a", 0)
	if got := c.others("b"); got != 0 || len(c.of) != 1 {
		t.Errorf("b sees %d, of %d claims", got, len(c.of))
	}
}
