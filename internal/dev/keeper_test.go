package dev

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// stub is a process that lives for a while, or that cannot be started.
type stub struct {
	lives  []time.Duration // of each start; the last one again and again; negative: cannot be started
	starts []time.Duration // when it was started, after the beginning
	began  time.Time
}

func (s *stub) start() (child, error) {
	s.starts = append(s.starts, time.Since(s.began))
	life := s.lives[min(len(s.starts), len(s.lives))-1]
	if life < 0 {
		return child{}, errors.New("no such program")
	}
	done := make(chan struct{})
	time.AfterFunc(life, func() { close(done) })
	return child{PID: 100 + len(s.starts), StartedAt: time.Now(), Done: done, Exit: func() string { return "exit status 1" }}, nil
}

// keep runs a keeper in a bubble for a time.
func keep(t *testing.T, s *stub, noRestart bool, within func(k *keeper)) {
	synctest.Test(t, func(t *testing.T) {
		s.began = time.Now()
		k := newKeeper("x", noRestart, s.start, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); k.run(ctx) }()
		within(k)
		cancel()
		<-ended
		time.Sleep(24 * time.Hour) // what a stub began, it ends
	})
}

func seconds(ns ...int) []time.Duration {
	out := make([]time.Duration, len(ns))
	for i, n := range ns {
		out[i] = time.Duration(n) * time.Second
	}
	return out
}

func TestBackOffDoublesFromOneSecondToAMinute(t *testing.T) {
	want := seconds(1, 2, 4, 8, 16, 32, 60, 60)
	for i, d := range want {
		if got := restartDelay(i); got != d {
			t.Errorf("after %d: %v, want %v", i, got, d)
		}
	}
	if got := restartDelay(1 << 40); got != time.Minute {
		t.Errorf("after ever so many: %v", got)
	}
}

func TestAProcessThatCannotLiveIsStartedWithBackOff(t *testing.T) {
	for name, life := range map[string]time.Duration{"ends at once": 0, "cannot be started": -1} {
		s := &stub{lives: []time.Duration{life}}
		keep(t, s, false, func(*keeper) { time.Sleep(200 * time.Second) })
		if want := seconds(0, 1, 3, 7, 15, 31, 63, 123, 183); !slices.Equal(s.starts, want) {
			t.Errorf("%s: started after %v, want %v", name, s.starts, want)
		}
	}
}

func TestTenSecondsOfLifeForgetFormerFailures(t *testing.T) {
	s := &stub{lives: []time.Duration{0, 0, 0, 10 * time.Second, 0, 24 * time.Hour}}
	keep(t, s, false, func(*keeper) { time.Sleep(5 * time.Minute) })
	if want := seconds(0, 1, 3, 7, 18, 20); !slices.Equal(s.starts, want) {
		t.Errorf("started after %v, want %v", s.starts, want)
	}
}

func TestAProcessThatIsNotToBeRestartedStaysDownUntilAllowed(t *testing.T) {
	s := &stub{lives: []time.Duration{time.Minute, 24 * time.Hour}}
	keep(t, s, true, func(k *keeper) {
		time.Sleep(10 * time.Hour)
		if st := k.Status(); st.State != ProcessStopped || st.PID != 0 || st.RetryAt != nil || st.LastExit == "" {
			t.Errorf("got %+v", st)
		}
		k.setNoRestart(false)
		synctest.Wait()
		if st := k.Status(); st.State != ProcessRunning || st.PID != 102 || st.Restarts != 1 {
			t.Errorf("allowed: got %+v", st)
		}
	})
}

func TestStatusSaysWhenItIsTriedAgain(t *testing.T) {
	s := &stub{lives: []time.Duration{0}}
	keep(t, s, false, func(k *keeper) {
		time.Sleep(3500 * time.Millisecond)
		st := k.Status()
		if st.State != ProcessWaiting || st.RetryAt == nil || !st.RetryAt.Equal(s.began.Add(7*time.Second)) || st.Restarts != 2 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestTheEndOfAKeeperLeavesItsProcessAlone(t *testing.T) {
	s := &stub{lives: []time.Duration{24 * time.Hour}}
	keep(t, s, false, func(k *keeper) {
		time.Sleep(time.Hour)
		if st := k.Status(); st.State != ProcessRunning || st.PID != 101 {
			t.Errorf("got %+v", st)
		}
	})
	if len(s.starts) != 1 {
		t.Errorf("started %d times", len(s.starts))
	}
}
