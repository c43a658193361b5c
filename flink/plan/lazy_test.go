package plan

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

func TestOnlyNewerCheckpointsOfTheSameRunMayBeRecordedLater(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	run := flink.Run{UID: "u", Term: 1, Run: 2}
	chk := func(r flink.Run, id int64) flink.Snapshot {
		return flink.Snapshot{Path: "s3://b/chk-" + string(rune('0'+id)), Kind: flink.KindCheckpoint, ID: id, CompletedAt: at.Add(time.Duration(id) * time.Second), Run: r}
	}
	base := func() Memory {
		return Memory{
			Term: 1, LastRun: 2, HadSnapshot: true, Snapshot: chk(run, 3),
			Current: &RunRecord{Run: run, Phase: PhaseProven, Checkpoint: chk(run, 3), Spec: flink.Spec{Jar: flink.Jar{Args: []string{"a"}}}},
			Said:    Said{Situation: InSync, State: flink.Running, Conditions: []flink.Condition{{Type: flink.ConditionReady, Status: flink.True, Message: "Running since 12:00"}}},
		}
	}
	for name, c := range map[string]struct {
		change func(*Memory)
		want   bool
	}{
		"nothing":            {func(*Memory) {}, true},
		"a newer checkpoint": {func(m *Memory) { m.Snapshot, m.Current.Checkpoint = chk(run, 5), chk(run, 5) }, true},
		"other words":        {func(m *Memory) { m.Said.Conditions[0].Message = "Running since 12:00, still" }, true},
		"its number too": {func(m *Memory) {
			m.Snapshot, m.Current.Checkpoint, m.Current.Newest, m.Current.Proof = chk(run, 5), chk(run, 5), 5, 5
		}, true},
		"another life of its job":             {func(m *Memory) { m.Current.Life.Start = at }, false},
		"its tasks do not run":                {func(m *Memory) { m.Current.DownAt = at }, false},
		"a damage":                            {func(m *Memory) { m.Current.HAFault = faultData }, false},
		"drift put back":                      {func(m *Memory) { m.Current.Drift.Times++ }, false},
		"a named start":                       {func(m *Memory) { m.StartedFrom = 1 }, false},
		"an older checkpoint":                 {func(m *Memory) { m.Snapshot, m.Current.Checkpoint = chk(run, 2), chk(run, 2) }, false},
		"a savepoint":                         {func(m *Memory) { m.Snapshot = flink.Snapshot{Path: "s3://b/sp", Kind: flink.KindSavepoint, Run: run} }, false},
		"a checkpoint of a new run":           {func(m *Memory) { m.Snapshot = chk(flink.Run{UID: "u", Term: 1, Run: 3}, 9) }, false},
		"none any more":                       {func(m *Memory) { m.Snapshot = flink.Snapshot{} }, false},
		"a condition turned":                  {func(m *Memory) { m.Said.Conditions[0].Status = flink.False }, false},
		"an end":                              {func(m *Memory) { m.Current.Checkpoint = chk(run, 5); m.Current.End = &End{Kind: EndLost, At: at} }, false},
		"a phase":                             {func(m *Memory) { m.Current.Phase = PhaseSubmitted }, false},
		"a next run":                          {func(m *Memory) { m.Snapshot = chk(run, 5); m.LastRun = 3; m.Next = &RunRecord{} }, false},
		"an argument of the spec":             {func(m *Memory) { m.Current.Spec.Jar.Args = []string{"b"} }, false},
		"a retry":                             {func(m *Memory) { m.RetryAt = at }, false},
		"nothing known of snapshots any more": {func(m *Memory) { m.HadSnapshot = false }, false},
	} {
		m := base()
		c.change(&m)
		if got := m.OnlyNewerSnapshot(base()); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	first := base()
	old := base()
	old.HadSnapshot, old.Snapshot, old.Current.Checkpoint = false, flink.Snapshot{}, flink.Snapshot{}
	if first.OnlyNewerSnapshot(old) {
		t.Error("the first snapshot of a job may wait: a crash would leave a record that says there was none")
	}
	words := old
	words.Said.Conditions = []flink.Condition{{Type: flink.ConditionReady, Status: flink.True, Message: "Waits for 3s now"}}
	if !words.OnlyNewerSnapshot(old) {
		t.Error("other words of a job without snapshots are written each time")
	}
	m := base()
	m.Snapshot, m.Current.Checkpoint = chk(run, 5), chk(run, 5)
	if m.OnlyNewerSnapshot(base()); m.Snapshot.ID != 5 || m.Current.Checkpoint.ID != 5 {
		t.Error("the memory was changed by the question")
	}
}

// A crash after checkpoints that were not put on record: the newest is read again before the next run starts.
func TestAnOlderRecordedCheckpointIsOnlyALowerBound(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	run := flink.Run{UID: "u", Term: 1, Run: 1}
	spec := flink.Default(flink.Spec{State: flink.StateRunning, UpgradeMode: flink.UpgradeLastState, Parallelism: 1})
	order := flink.Order{UID: "u", Name: "j", Tenant: "t", Generation: 1, Term: 1, Spec: spec}
	chk := func(id int64, path string) flink.Snapshot {
		return flink.Snapshot{Path: path, Kind: flink.KindCheckpoint, ID: id, CompletedAt: at, Run: run}
	}
	m := Memory{
		Term: 1, LastRun: 1, HadSnapshot: true, Snapshot: chk(3, "file:/s/chk-3"), Wanted: Wanted{Generation: 1},
		Current: &RunRecord{Run: run, Generation: 1, Spec: spec, Phase: PhaseProven, Seen: true, Checkpoint: chk(3, "file:/s/chk-3"), PhaseSince: at.Add(-time.Hour)},
	}
	gone := flink.Observed{At: at, Runs: []flink.RunObserved{{Run: run}}}
	p := Next(order, gone, m, at)
	if p.Memory.Next != nil || p.Memory.Current.Run != run {
		t.Fatalf("started from the recorded path without reading the newest: %s", p.Status.Message)
	}
	gone.Newest = &flink.NewestCheckpoint{Run: run, Snapshot: chk(9, "file:/s/chk-9")}
	for range 4 {
		if p = Next(order, gone, p.Memory, at); p.Memory.Current.Run != run {
			break
		}
	}
	if got := p.Memory.Current; got.Run == run || got.Intended != "file:/s/chk-9" {
		t.Errorf("next run %s starts from %q, want the newest: file:/s/chk-9 (%s)", got.Run, got.Intended, p.Status.Message)
	}
}
