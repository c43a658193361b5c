package reconcile

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

func TestOnlyWordsWaitForTheNextRecord(t *testing.T) {
	run := flink.Run{UID: "j", Term: 1, Run: 1}
	old := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{Run: run, Phase: plan.PhaseWarming}}
	with := func(change func(m *plan.Memory)) plan.Memory {
		m := old
		m.Current = new(*old.Current)
		m.Said.Situation = plan.Checking
		change(&m)
		return m
	}
	words := with(func(*plan.Memory) {})
	for name, c := range map[string]struct {
		memory plan.Memory
		action plan.Action
		waits  bool
	}{
		"words":                          {words, nil, true},
		"words before a check":           {words, plan.Preflight{Run: run}, true},
		"words before a hand-in":         {words, plan.Submit{Run: run}, false},
		"words before an end":            {words, plan.EndRun{Run: run}, false},
		"nothing":                        {old, nil, false},
		"since when it waits":            {with(func(m *plan.Memory) { m.Current.Waiting = time.Unix(1, 0) }), nil, true},
		"a phase":                        {with(func(m *plan.Memory) { m.Current.Phase = plan.PhaseProven }), nil, false},
		"another run":                    {with(func(m *plan.Memory) { m.Current.Run.Run = 2 }), nil, false},
		"an end":                         {with(func(m *plan.Memory) { m.Current.End = &plan.End{Kind: plan.EndLost} }), nil, false},
		"a next run, before its check":   {with(func(m *plan.Memory) { m.Next = &plan.RunRecord{Run: run} }), plan.Preflight{Run: run}, false},
		"a snapshot that was never seen": {with(func(m *plan.Memory) { m.Snapshot.Path, m.HadSnapshot = "s3://b/x", true }), nil, false},
	} {
		if got := wordsAlone(old, plan.Plan{Memory: c.memory, Action: c.action}); got != c.waits {
			t.Errorf("%s: waits %t, want %t", name, got, c.waits)
		}
	}
}
