package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/agent/reconcile"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// world is a store and a place of jobs of which nothing exists yet. It writes down what happens, in order.
type world struct {
	mu      sync.Mutex
	records map[string]reconcile.Record
	events  []string
	at      map[string][]time.Time // of each job's looks
	blind   map[string]error       // jobs that cannot be looked at
	unsaved error
	act     func(ctx context.Context, uid string) plan.Outcome
	said    []flink.Status // what is reported, one after another
}

func newWorld(uids ...string) *world {
	w := &world{records: map[string]reconcile.Record{}, at: map[string][]time.Time{}, blind: map[string]error{}}
	for _, uid := range uids {
		w.order(uid)
	}
	return w
}

func (w *world) order(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	spec := flink.Default(flink.Spec{FlinkVersion: "2.3", Jar: flink.Jar{EntryClass: "M"}})
	w.records[uid] = reconcile.Record{Order: flink.Order{UID: uid, Tenant: "default", Name: uid, Generation: 1, Term: 1, Spec: spec}}
}

func (w *world) note(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *world) Jobs(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var uids []string
	for uid := range w.records {
		uids = append(uids, uid)
	}
	return uids, nil
}

func (w *world) Load(_ context.Context, uid string) (reconcile.Record, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.records[uid]
	return r, ok, nil
}

func (w *world) SaveMemory(_ context.Context, uid string, m plan.Memory) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsaved != nil {
		return w.unsaved
	}
	r := w.records[uid]
	r.Memory = m
	w.records[uid] = r
	w.note("save %s", uid)
	return nil
}

func (w *world) NoteMemory(_ context.Context, uid string, m plan.Memory) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[uid]
	r.Memory = m
	w.records[uid] = r
	w.note("note %s", uid)
	return nil
}

func (w *world) Remove(_ context.Context, uid string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, uid)
	w.note("remove %s", uid)
	return nil
}

func (w *world) config(t *testing.T) reconcile.Config {
	return reconcile.Config{
		Store: w,
		Observe: func(_ context.Context, o flink.Order, _ plan.Memory) (flink.Observed, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.at[o.UID] = append(w.at[o.UID], time.Now())
			if o.Spec.StateStorage.Root != "file:///agents" {
				t.Errorf("the place's own root is not in the order: %q", o.Spec.StateStorage.Root)
			}
			return flink.Observed{At: time.Now()}, w.blind[o.UID]
		},
		Act: func(ctx context.Context, a plan.Action, _ flink.Observed) plan.Outcome {
			uid := a.(plan.EnsureRun).Launch.Run.UID
			w.mu.Lock()
			w.note("act %s", uid)
			do := w.act
			w.mu.Unlock()
			if do == nil {
				return plan.Outcome{Err: "no Flink here"}
			}
			return do(ctx, uid)
		},
		Collect: func(_ context.Context, uid string, keep []flink.Run) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.note("collect %s but %v", uid, keep)
			return nil
		},
		Report: func(_ context.Context, o flink.Order, s flink.Status) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if s.Gone {
				w.note("gone %s", o.UID)
			}
			w.said = append(w.said, s)
			return nil
		},
		Left:      func(uid string) { w.mu.Lock(); defer w.mu.Unlock(); w.note("left %s", uid) },
		StateRoot: func(string) string { return "file:///agents" },
		Metrics:   telemetry.NewAgent(prometheus.NewRegistry(), "x"),
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// run lets a reconciler work for a while of false time.
func (w *world) run(t *testing.T, d time.Duration, during func(*reconcile.Reconciler)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := reconcile.New(w.config(t))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if during != nil {
		during(r)
	}
	time.Sleep(d)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (w *world) looks(uid string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.at[uid])
}

func TestTheIntentIsOnRecordBeforeTheAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.run(t, 2*time.Second, nil)
		if len(w.events) < 2 || w.events[0] != "save a" || w.events[1] != "act a" {
			t.Errorf("events %q", w.events)
		}
	})
}

func TestWhatCannotBePutOnRecordIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.unsaved = errors.New("disk full")
		w.run(t, time.Minute, nil)
		if slices.Contains(w.events, "act a") {
			t.Errorf("events %q", w.events)
		}
		if n := w.looks("a"); n < 3 || n > 12 {
			t.Errorf("tried %d times in a minute, want it tried again with growing pauses", n)
		}
	})
}

func TestOneJobsTroubleDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("blind", "stuck", "well")
		w.blind["blind"] = errors.New("cannot list processes")
		w.act = func(ctx context.Context, uid string) plan.Outcome {
			if uid == "stuck" {
				<-ctx.Done() // an act that never ends
			}
			return plan.Outcome{Err: "no Flink here"}
		}
		w.run(t, time.Minute, nil)
		if w.looks("well") < 20 || w.looks("stuck") != 1 || w.looks("blind") > 12 {
			t.Errorf("looks: well %d, stuck %d, blind %d", w.looks("well"), w.looks("stuck"), w.looks("blind"))
		}
	})
}

func TestAJobThatCannotBeSeenIsNeverGreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		r := w.records["a"]
		r.Order.Spec.State = flink.StateSuspended
		w.records["a"] = r
		blind := func(err error) { w.mu.Lock(); defer w.mu.Unlock(); w.blind["a"] = err }
		last := func() flink.Status {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.said) == 0 {
				return flink.Status{}
			}
			return w.said[len(w.said)-1]
		}
		w.run(t, 5*time.Minute, func(r *reconcile.Reconciler) {
			time.Sleep(time.Second)
			blind(errors.New("it is dark"))
			r.Wake("a")
			time.Sleep(10 * time.Second)
			if s := last(); s.State != flink.Suspended {
				t.Errorf("after 10 s in the dark it is %s, %s: a short while is not worth a word", s.State, s.Message)
			}
			time.Sleep(20 * time.Second)
			s := last()
			if s.State != flink.Unknown || s.Situation != string(plan.Unseen) || !strings.Contains(s.Message, "it is dark") {
				t.Errorf("after 30 s in the dark it is %s, %s, %s; want Unknown, and why", s.State, s.Situation, s.Message)
			}
			for _, c := range s.Conditions {
				if c.Type == flink.ConditionReady && c.Status != flink.UnknownStatus || c.Type == flink.ConditionStalled && c.Status != flink.True {
					t.Errorf("condition %+v", c)
				}
			}
			blind(nil)
			time.Sleep(time.Minute)
			if s := last(); s.State != flink.Suspended {
				t.Errorf("in the light again it is %s, %s", s.State, s.Message)
			}
			if m := w.records["a"].Memory; m.Current != nil || m.Next != nil {
				t.Errorf("darkness is remembered as %+v", m)
			}
		})
	})
}

func TestAJobIsLookedAtWithoutAnyEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		r := w.records["a"]
		r.Order.Spec.State = flink.StateSuspended // nothing to do, and nothing happens
		w.records["a"] = r
		w.run(t, 10*time.Minute, nil)
		if n := w.looks("a"); n < 9 || n > 15 {
			t.Errorf("looked %d times in ten minutes", n)
		}
	})
}

func TestWhatNoRecordNamesIsCollectedWhenNothingElseIsToBeDone(t *testing.T) {
	suspended := func(w *world) {
		r := w.records["a"]
		r.Order.Spec.State = flink.StateSuspended
		run := flink.Run{UID: "a", Term: 1, Run: 3}
		r.Memory = plan.Memory{Term: 1, LastRun: 3, Current: &plan.RunRecord{
			Run: run, Spec: r.Order.Spec, Generation: 1, End: &plan.End{Kind: plan.EndCanceled, Listed: true, Gone: true},
		}}
		w.records["a"] = r
	}
	collected := func(w *world) []string {
		return slices.DeleteFunc(slices.Clone(w.events), func(e string) bool { return !strings.HasPrefix(e, "collect") })
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		suspended(w)
		w.run(t, time.Second, nil)
		if got := collected(w); !slices.Equal(got, []string{"collect a but [t1/r3]"}) {
			t.Errorf("suspended: %q", w.events)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.run(t, time.Minute, nil) // there is something to do, again and again
		for i, e := range w.events {
			if strings.HasPrefix(e, "act") && i > 0 && strings.HasPrefix(w.events[i-1], "collect") {
				t.Errorf("collected by the pass that acts: %q", w.events)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		suspended(w)
		cfg := w.config(t)
		see := cfg.Observe
		cfg.Observe = func(ctx context.Context, o flink.Order, m plan.Memory) (flink.Observed, error) {
			seen, err := see(ctx, o, m)
			seen.Hold = &flink.Hold{By: "somebody"}
			return seen, err
		}
		r := reconcile.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := collected(w); w.looks("a") == 0 || len(got) != 0 {
			t.Errorf("collected while held: %q", got)
		}
	})
}

func TestAnOrderThatComesLaterIsTakenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.run(t, time.Second, func(r *reconcile.Reconciler) {
			time.Sleep(time.Hour)
			w.order("late")
			r.Wake("late")
			r.Wake("unknown") // of which there is no record: nothing comes of it
			synctest.Wait()
			if w.looks("late") != 1 || w.looks("unknown") != 0 {
				t.Errorf("looked %d times at the late one, %d at the unknown one", w.looks("late"), w.looks("unknown"))
			}
		})
	})
}

func TestADeletedJobIsReportedGoneBeforeItIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		r := w.records["a"]
		r.Order.Deleted = true
		w.records["a"] = r
		w.run(t, time.Minute, nil)
		gone, removed, left := slices.Index(w.events, "gone a"), slices.Index(w.events, "remove a"), slices.Index(w.events, "left a")
		if gone < 0 || removed < gone || left < removed {
			t.Errorf("events %q", w.events)
		}
	})
}

// An agent that is told to end while an act runs puts the act's answer on record first.
func TestAnActsAnswerIsOnRecordBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.act = func(context.Context, string) plan.Outcome {
			time.Sleep(3 * time.Second)
			return plan.Outcome{}
		}
		w.run(t, time.Second, nil)
		if last := w.events[len(w.events)-1]; last != "save a" || len(w.events) < 3 {
			t.Errorf("events %q, want the answer saved last", w.events)
		}
	})
}

func TestThatAnActWentWellWaitsForTheNextRecordAndThatItDidNotIsSavedAtOnce(t *testing.T) {
	for outcome, want := range map[plan.Outcome]string{{}: "note a", {Err: "no room"}: "save a"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld("a")
			w.act = func(context.Context, string) plan.Outcome { return outcome }
			w.run(t, 5*time.Millisecond, nil)
			if len(w.events) < 3 || w.events[0] != "save a" || w.events[1] != "act a" || w.events[2] != want {
				t.Errorf("after %q: events %q, want %q third", outcome.Err, w.events, want)
			}
		})
	}
}

// Whoever drops what it knew of a job that left must not drop what it learned of the job that came back.
func TestAJobThatComesBackAtOnceIsLookedAtOnlyAfterItsLeaveIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cfg := w.config(t)
		var r *reconcile.Reconciler
		var once sync.Once
		cfg.Left = func(uid string) {
			once.Do(func() {
				w.order(uid)
				r.Wake(uid)
				time.Sleep(2 * time.Second) // of false time
				if n := w.looks(uid); n != 0 {
					t.Errorf("looked at %d times while it was still being left", n)
				}
			})
		}
		r = reconcile.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Wake("a")
		time.Sleep(4 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if w.looks("a") == 0 {
			t.Error("the job that came back is not looked at")
		}
	})
}
