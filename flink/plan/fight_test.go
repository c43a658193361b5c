package plan_test

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// TestAFightOverARunsObjectsIsNoStormAndNeverGivenUp: something changes them
// whenever they are put back, for a day.
func TestAFightOverARunsObjectsIsNoStormAndNeverGivenUp(t *testing.T) {
	const changed = "Deployment j1-t1-r1-tm: spec.replicas is 4, made as 2"
	for name, c := range map[string]struct {
		also        string // what else is wrong meanwhile
		least, most int    // writes in the last twelve hours
	}{
		"while the job runs": {"", 20, 24},
		"while it does not":  {"fault stuck", 100, 144},
	} {
		s := newScript()
		for _, line := range []string{"kubernetes", "run 30s", "fault fights " + changed, "drift " + changed} {
			if err := s.do(line); err != nil {
				t.Fatal(err)
			}
		}
		if c.also != "" {
			if err := s.do(c.also); err != nil {
				t.Fatal(err)
			}
		}
		start, late := s.w.now, 0
		stalled := true
		for s.w.now.Sub(start) < 24*time.Hour {
			p := s.w.pass()
			if _, is := p.Action.(plan.EnsureRun); is && s.w.now.Sub(start) > 12*time.Hour {
				late++
			}
			if s.w.now.Sub(start) > 12*time.Hour {
				stalled = stalled && p.Status.Condition("Stalled").Reason == "Drift"
			}
			s.w.advance(p.RequeueAt)
		}
		if late < c.least || late > c.most {
			t.Errorf("%s: put back %d times in twelve hours, wanted %d to %d", name, late, c.least, c.most)
		}
		if !stalled {
			t.Errorf("%s: it is not said that somebody changes it on purpose", name)
		}
		if len(s.w.sins) > 0 {
			t.Errorf("%s: %v", name, s.w.sins)
		}
	}
}
