package dev

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How a process is brought back: as Kubernetes does it, only sooner.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
	calmAfter  = 10 * time.Second // a process that was up so long starts at firstDelay again: killing one now and then is play, not a crash loop
)

// restartDelay is how long to wait before the next start, after so many starts
// in a row that did not last.
func restartDelay(failures int) time.Duration {
	if failures >= 6 {
		return lastDelay
	}
	return min(firstDelay<<max(failures, 0), lastDelay)
}

// child is a living process, started or adopted.
type child struct {
	PID       int
	StartedAt time.Time
	Done      <-chan struct{} // closed when it has ended
	Exit      func() string   // how it ended, once Done is closed
}

// ProcessState is where a kept process stands.
type ProcessState string

// The process states.
const (
	ProcessRunning ProcessState = "running"
	ProcessWaiting ProcessState = "waiting" // to be started again
	ProcessStopped ProcessState = "stopped" // ended, and not to be restarted
)

// ProcessStatus is what is told of one kept process.
type ProcessStatus struct {
	Name     string       `json:"name"`
	State    ProcessState `json:"state"`
	PID      int          `json:"pid,omitempty"`
	Since    time.Time    `json:"since"`
	Restarts int          `json:"restarts"`
	LastExit string       `json:"lastExit,omitempty"`
	RetryAt  *time.Time   `json:"retryAt,omitempty"`
}

// keeper keeps one process up.
type keeper struct {
	name  string
	start func() (child, error) // starts it, or adopts the one that lives
	log   *slog.Logger

	mu        sync.Mutex
	status    ProcessStatus
	noRestart bool
	changed   chan struct{} // size 1: noRestart was changed
}

func newKeeper(name string, noRestart bool, start func() (child, error), log *slog.Logger) *keeper {
	return &keeper{
		name: name, start: start, log: log, noRestart: noRestart, changed: make(chan struct{}, 1),
		status: ProcessStatus{Name: name, State: ProcessWaiting, Since: time.Now()},
	}
}

// run keeps the process up until ctx ends. The process itself then lives on.
func (k *keeper) run(ctx context.Context) {
	failures := 0
	for starts := 0; ctx.Err() == nil; starts++ {
		began := time.Now()
		c, err := k.start()
		var exit string
		if err != nil {
			exit = "not started: " + err.Error()
			k.log.ErrorContext(ctx, "process not started", "process", k.name, "err", err)
		} else {
			k.set(func(s *ProcessStatus) {
				s.State, s.PID, s.Since, s.Restarts, s.RetryAt = ProcessRunning, c.PID, c.StartedAt, starts, nil
			})
			k.log.InfoContext(ctx, "process running", "process", k.name, "pid", c.PID)
			select {
			case <-ctx.Done():
				return
			case <-c.Done:
			}
			exit = c.Exit()
		}
		if time.Since(began) >= calmAfter {
			failures = 0
		}
		k.log.WarnContext(ctx, "process ended", "process", k.name, "exit", exit)
		k.pause(ctx, restartDelay(failures), exit)
		failures++
	}
}

// pause waits before the next start: for delay, or for as long as the process is not to be restarted.
func (k *keeper) pause(ctx context.Context, delay time.Duration, exit string) {
	at := time.Now().Add(delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	due := false
	for {
		stopped := false
		k.set(func(s *ProcessStatus) {
			stopped = k.noRestart
			s.PID, s.LastExit = 0, exit
			if s.State == ProcessRunning {
				s.Since = time.Now()
			}
			s.State, s.RetryAt = ProcessWaiting, &at
			if stopped {
				s.State, s.RetryAt = ProcessStopped, nil
			}
		})
		if due && !stopped {
			return
		}
		select {
		case <-timer.C:
			due = true
		case <-k.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (k *keeper) set(change func(*ProcessStatus)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

// setNoRestart says whether the process stays down once it ends.
func (k *keeper) setNoRestart(v bool) {
	k.mu.Lock()
	k.noRestart = v
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Status is where the process stands.
func (k *keeper) Status() ProcessStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}
