package plan_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// lines are what may happen to a job, in the words of the stories. What comes
// more often stands more often.
var lines = []string{
	"order parallelism=1", "order parallelism=2", "order parallelism=3", "order class=com.example.A", "order class=com.example.B",
	"order state=suspended", "order state=running", "order state=running", "order upgradeMode=stateless", "order upgradeMode=savepoint",
	"order switch=cold", "order switch=warm", "order memory=1Gi", "order memory=512Mi", "restart", "restart",
	"restart --from newest", "restart --from /s/elsewhere/savepoint-9",
	"kill jm", "kill jm", "kill tm", "kill tm", "kill all", "kill rest", "fail com.example.Bug: no", "fail com.example.Bug: no",
	"room 0", "room 1536Mi", "room 2Gi others=512Mi", "lose", "bring",
	"fault preflight com.example.Main: no", "fault ensure 3", "fault submit java.util.concurrent.TimeoutException: ask timed out",
	"fault answer", "fault two-jobs", "fault restores empty", "fault start-fails com.example.Odd: who knows",
	"fault savepoints 2", "fault savepoint-hangs", "fault unreadable connection refused", "fault undead", "fault jm-exits",
	"fault crash before", "fault crash before", "fault crash after", "fault crash after", "fault late 45s", "fault stuck", "fault forgets", "fault cancel-hangs", "fault swallows", "kill job", "cancel", "finish", "fault off", "fault off",
}

var pauses = []string{"50ms", "100ms", "150ms", "200ms", "300ms", "400ms", "500ms", "1s", "2s", "3s", "5s", "10s", "30s", "2m"}

// play has things happen to a job in any order at any time. A thing that cannot happen then does not.
func play(t *rapid.T, s *script) { playLines(t, s, lines) }

func playLines(t *rapid.T, s *script, all []string) {
	must(t, s.do("run "+rapid.SampledFrom([]string{"30s", "30s", "1s", "3100ms", "10s"}).Draw(t, "start")))
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
			_ = s.do(rapid.SampledFrom(all).Draw(t, "line"))
		}
		must(t, s.do("run "+rapid.SampledFrom(pauses).Draw(t, "pause")))
		lawful(t, s)
	}
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lawful(t *rapid.T, s *script) {
	t.Helper()
	if len(s.w.sins) > 0 {
		t.Fatalf("law broken: %s\n%s", s.w.sins[0], s.out.String())
	}
}

// heal ends all faults.
func heal(t *rapid.T, s *script) {
	for _, line := range []string{"fault off", "bring", "room 0"} {
		must(t, s.do(line))
	}
	for _, r := range s.w.runs {
		r.silent = time.Time{}
		r.others = nil
	}
}

// settled reports whether nothing is left to do for the planner, or it asks a person.
func settled(s *script, p plan.Plan) error {
	st := p.Status
	spec := s.w.order.Spec
	alive := 0
	for _, r := range s.w.runs {
		if r.alive() {
			alive++
		}
	}
	switch st.State {
	case flink.Failed, flink.Suspended, flink.Finished:
		if alive > 0 {
			return fmt.Errorf("%s, and %d runs live", st.State, alive)
		}
	case flink.Running:
		if st.Condition(flink.ConditionReady).Status == flink.True && alive != 1 {
			return fmt.Errorf("%s, and %d runs live", st.State, alive)
		}
	default: // something is under way
	}
	switch {
	case st.Condition(flink.ConditionStalled).Status == flink.True:
		return nil
	case s.w.order.Deleted:
		if !p.Gone {
			return fmt.Errorf("deleted, and not gone")
		}
	case p.Situation == plan.JobFinished:
	case spec.State == flink.StateSuspended:
		if p.Situation != plan.SuspendedInSync {
			return fmt.Errorf("to be suspended, and %s", p.Situation)
		}
	case p.Situation != plan.InSync:
		return fmt.Errorf("to run, and %s", p.Situation)
	}
	return nil
}

func TestWhateverHappensTheLawsHoldAndItSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScript()
		play(t, s)
		heal(t, s)
		must(t, s.do("run 30m"))
		lawful(t, s)
		if err := settled(s, s.w.pass()); err != nil {
			t.Fatalf("%v\n%s", err, s.out.String())
		}
	})
}

func TestWhateverHappensADeletedJobGoesOrSaysWhyNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScript()
		play(t, s)
		policy := rapid.SampledFrom([]string{"", "savepoint", "cancel"}).Draw(t, "policy")
		must(t, s.do("delete "+policy))
		must(t, s.do("run "+rapid.SampledFrom(pauses).Draw(t, "pause")))
		heal(t, s)
		must(t, s.do("run 30m"))
		lawful(t, s)
		if !s.gone {
			if err := settled(s, s.w.pass()); err != nil {
				t.Fatalf("%v\n%s", err, s.out.String())
			}
			must(t, s.do("delete cancel"))
			must(t, s.do("run 5m"))
		}
		lawful(t, s)
		if !s.gone {
			t.Fatalf("deleted with cancel, and not gone\n%s", s.out.String())
		}
		for _, r := range s.w.runs {
			if r.alive() {
				t.Fatalf("gone, and %s lives\n%s", r.launch.Run, s.out.String())
			}
		}
	})
}

func TestAHealthyJobIsLeftAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScript()
		play(t, s)
		heal(t, s)
		must(t, s.do("run 30m"))
		p := s.w.pass()
		if p.Situation != plan.InSync {
			t.Skip("not in sync")
		}
		run, until := p.Memory.Current.Run, s.w.now.Add(10*time.Minute)
		for s.w.now.Before(until) {
			p = s.w.pass()
			if p.Action != nil || p.Situation != plan.InSync || p.Memory.Current.Run != run {
				t.Fatalf("%s: %s %v of %s, was in sync with %s", s.w.now.Format("15:04:05"), p.Situation, p.Action, p.Memory.Current.Run, run)
			}
			s.w.advance(s.w.now.Add(min(5*time.Second, p.RequeueAt.Sub(s.w.now))))
		}
		lawful(t, s)
	})
}

func TestARunningJobOutlivesTheLossOfAllRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScript()
		play(t, s)
		heal(t, s)
		must(t, s.do("run 30m"))
		p := s.w.pass()
		if p.Situation != plan.InSync {
			t.Skip("not in sync")
		}
		run := p.Memory.Current.Run
		must(t, s.do("forget"))
		must(t, s.do("run 1m"))
		if p = s.w.pass(); p.Situation != plan.InSync || p.Memory.Current.Run != run {
			t.Fatalf("%s with %s, was in sync with %s\n%s", p.Situation, p.Memory.Current.Run, run, s.out.String())
		}
		play(t, s)
		heal(t, s)
		must(t, s.do("run 30m"))
		lawful(t, s)
		if err := settled(s, s.w.pass()); err != nil {
			t.Fatalf("%v\n%s", err, s.out.String())
		}
	})
}

// TestEveryInputHasAnAnswer feeds nonsense of every shape.
func TestEveryInputHasAnAnswer(t *testing.T) {
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(start)
		nonsense(t, reflect.ValueOf(&w.order).Elem(), start)
		nonsense(t, reflect.ValueOf(&w.mem).Elem(), start)
		var ob flink.Observed
		nonsense(t, reflect.ValueOf(&ob).Elem(), start)
		w.mem.Said.Transitions = w.mem.Said.Transitions[:min(len(w.mem.Said.Transitions), flink.MaxTransitions)]
		before := clone(w.mem)
		plan.Ask(w.order, w.mem)
		p := plan.Next(w.order, ob, w.mem, start)
		if !reflect.DeepEqual(before, w.mem) {
			t.Fatal("Next changed the memory it was given")
		}
		if again := plan.Next(w.order, ob, w.mem, start); !reflect.DeepEqual(p, again) {
			t.Fatal("the same input has two answers")
		}
		if d := p.RequeueAt.Sub(start); d <= 0 || d > time.Minute {
			t.Fatalf("looks again in %s", d)
		}
		conditions := 3
		if ob.Hold != nil {
			conditions++
			if p.Action != nil || p.Gone || p.Status.Gone {
				t.Fatalf("held, and yet acts: %v", p.Action)
			}
		}
		if p.Status.Message == "" || len(p.Status.Conditions) != conditions || len(p.Status.Transitions) > flink.MaxTransitions {
			t.Fatalf("a status without words: %+v", p.Status)
		}
		if s, ok := p.Action.(plan.Submit); ok && (w.order.Deleted || w.order.Spec.State == flink.StateSuspended) {
			t.Fatalf("hands in %s although nothing should run", s.Run)
		}
		if p.Action != nil {
			plan.Note(p.Memory, p.Action, plan.Outcome{}, start)
		}
	})
}

// nonsense fills a value with anything of its type, near enough to sense to reach every branch.
func nonsense(t *rapid.T, v reflect.Value, now time.Time) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		if d := rapid.IntRange(0, 8).Draw(t, "time"); d > 0 {
			v.Set(reflect.ValueOf(now.Add(-time.Duration(d*d*d-1) * time.Second)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			nonsense(t, f, now)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			nonsense(t, v.Elem(), now)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "len")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			nonsense(t, v.Index(i), now)
		}
	case reflect.String:
		v.SetString(rapid.SampledFrom(words).Draw(t, "word"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{-1, 0, 0, 1, 1, 2, 3, 1 << 30}).Draw(t, "int"))
	case reflect.Map: // none: nothing looks into one
	default:
		t.Fatalf("no nonsense for %s", v.Type())
	}
}

var words = []string{
	"", "", "j1", "/s/sp", "/s/chk-2", "512Mi", "running", "suspended", "stateless", "savepoint", "cold", "checkpoint", "orphan", "cancel",
	"RUNNING", "FINISHED", "FAILED", "CANCELED", "CREATED", "exited", "unknown", "warming", "checked", "submitted", "proven",
	"stopped", "failed", "lost", "abandoned", "finished", "canceled", "NoRoom", "Program", "Transient", "True", "Ready",
}
