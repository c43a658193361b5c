package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

func TestAnEndNobodySawNamesNoExitCode(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for code, want := range map[int]string{
		-1:  "its JobManager ended, and its exit code is not known",
		137: "its JobManager ended with exit code 137",
	} {
		run := flink.Run{UID: worldUID, Term: 1, Run: 1}
		m := plan.Memory{Term: 1, LastRun: 1, Current: &plan.RunRecord{Run: run, Phase: plan.PhaseProven, PhaseSince: now}}
		seen := flink.Observed{At: now, Runs: []flink.RunObserved{{
			Run: run, JobManager: flink.Process{State: flink.ProcessExited, ExitCode: code},
		}}}
		p := plan.Next(flink.Order{UID: worldUID, Tenant: worldTenant, Term: 1}, seen, m, now)
		if !strings.Contains(p.Status.Message, "(lost: "+want+")") {
			t.Errorf("exit %d: %s", code, p.Status.Message)
		}
	}
}
