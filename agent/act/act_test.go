package act_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/act"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

var run1 = flink.Run{UID: "j1", Term: 1, Run: 1}

// ports write down what they are asked for.
type ports struct {
	calls []string
	err   error
}

func (p *ports) call(format string, args ...any) error {
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
	return p.err
}

func (p *ports) Ensure(_ context.Context, l flink.Launch) error { return p.call("ensure %s", l.Run) }
func (p *ports) End(_ context.Context, r flink.Run) error       { return p.call("end %s", r) }

func (p *ports) Plan(_ context.Context, e string, g flink.Program) error {
	return p.call("plan %s %s", e, g.EntryClass)
}

func (p *ports) Submit(_ context.Context, e string, s flink.Submission) error {
	return p.call("submit %s %s %s", e, s.JobID, s.SnapshotPath)
}

func (p *ports) Stop(_ context.Context, e, job, trigger, dir string) error {
	return p.call("stop %s %s %s %s", e, job, trigger, dir)
}

func (p *ports) Cancel(_ context.Context, e, job string) error { return p.call("cancel %s %s", e, job) }

func seen() flink.Observed {
	return flink.Observed{Runs: []flink.RunObserved{
		{Run: flink.Run{UID: "j1", Term: 1, Run: 2}, Endpoint: "http://next"}, {Run: run1, Endpoint: "http://jm"},
	}}
}

// every action goes to its own run's port, once.
func TestEachActionIsOneCallToItsOwnRun(t *testing.T) {
	for want, a := range map[string]plan.Action{
		"ensure t1/r1":               plan.EnsureRun{Launch: flink.Launch{Run: run1}},
		"end t1/r1":                  plan.EndRun{Run: run1},
		"plan http://jm Main":        plan.Preflight{Run: run1, Program: flink.Program{EntryClass: "Main"}},
		"submit http://jm id chk-1":  plan.Submit{Run: run1, Submission: flink.Submission{JobID: "id", SnapshotPath: "chk-1"}},
		"stop http://jm id trig dir": plan.StopJob{Run: run1, JobID: "id", TriggerID: "trig", Directory: "dir"},
		"cancel http://jm id":        plan.CancelJob{Run: run1, JobID: "id"},
	} {
		p := &ports{}
		if out := act.New(p, p).Do(t.Context(), a, seen()); out != (plan.Outcome{}) || len(p.calls) != 1 || p.calls[0] != want {
			t.Errorf("%s: called %q, answered %+v", want, p.calls, out)
		}
	}
}

func TestADefiniteNoIsToldApartFromAFailure(t *testing.T) {
	p := &ports{err: fmt.Errorf("ensure: %w", &flink.Refusal{Kind: flink.RefusedJar, Cause: flink.Cause{Message: "no jar"}})}
	out := act.New(p, p).Do(t.Context(), plan.EnsureRun{}, seen())
	if out.Refusal == nil || out.Refusal.Kind != flink.RefusedJar || !strings.Contains(out.Err, "no jar") {
		t.Errorf("a refusal is answered as %+v", out)
	}
	p.err = errors.New("connection refused")
	if out := act.New(p, p).Do(t.Context(), plan.EnsureRun{}, seen()); out.Refusal != nil || out.Err != "connection refused" {
		t.Errorf("a failure is answered as %+v", out)
	}
}

func TestARunWhoseAddressIsNotKnownIsNotCalled(t *testing.T) {
	p := &ports{}
	out := act.New(p, p).Do(t.Context(), plan.CancelJob{Run: flink.Run{UID: "j1", Term: 1, Run: 9}, JobID: "id"}, seen())
	if out.Err == "" || len(p.calls) != 0 {
		t.Errorf("called %q, answered %+v", p.calls, out)
	}
}
