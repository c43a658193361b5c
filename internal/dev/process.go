package dev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markerKey is the environment variable by which a world's processes are found:
// <directory>|<name>. Flink's processes do not carry it, agents give them an environment of their own.
const markerKey = "WATERWHEEL_DEV"

// pollEvery is how often an adopted process is looked at: nobody is told of its end.
const pollEvery = 250 * time.Millisecond

// found is one living process of a world.
type found struct {
	pid   int
	name  string
	start string // in clock ticks since boot: tells two uses of a pid apart
	at    time.Time
}

// findProcesses lists a world's living processes, oldest first.
func findProcesses(dir string) ([]found, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []found
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f, ok := inspect(dir, pid); ok {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.at.Compare(b.at) })
	return all, nil
}

// inspect reads whether a pid is a living process of the world now. What cannot be read is not ours, or has ended.
func inspect(dir string, pid int) (found, bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	env, err := os.ReadFile(filepath.Join(proc, "environ"))
	if err != nil {
		return found{}, false
	}
	prefix, name := []byte(markerKey+"="+dir+"|"), ""
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if rest, ok := bytes.CutPrefix(v, prefix); ok {
			name = string(rest)
		}
	}
	if name == "" {
		return found{}, false
	}
	start, alive := startTime(pid)
	return found{pid: pid, name: name, start: start, at: sinceBoot(start)}, alive
}

// sinceBoot turns clock ticks since boot into a time, zero when it cannot.
func sinceBoot(start string) time.Time {
	const hertz = 100 // of every Linux that Go runs on
	raw, err := os.ReadFile("/proc/uptime")
	up, _, _ := strings.Cut(string(raw), " ")
	uptime, err2 := strconv.ParseFloat(up, 64)
	ticks, err3 := strconv.ParseFloat(start, 64)
	if errors.Join(err, err2, err3) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration((uptime - ticks/hertz) * float64(time.Second))).Truncate(time.Millisecond)
}

// startTime reads when a process was started; alive is false for a zombie.
func startTime(pid int) (start string, alive bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	end := bytes.LastIndexByte(stat, ')') // the command may hold blanks and brackets
	if err != nil || end < 0 {
		return "", false
	}
	fields := strings.Fields(string(stat[end+1:]))
	const state, startTime = 0, 19 // fields 3 and 22 of the line
	if len(fields) <= startTime {
		return "", false
	}
	return fields[startTime], fields[state] != "Z" && fields[state] != "X"
}

// alive reports whether it is still the process that was found.
func (f found) alive(dir string) bool {
	now, ok := inspect(dir, f.pid)
	return ok && now.start == f.start && now.name == f.name
}

// signal sends sig to the very process that was found; one that has ended is no error.
func (f found) signal(dir string, sig syscall.Signal) error {
	p, err := os.FindProcess(f.pid) // holds a handle: from here on the pid cannot change hands
	if err != nil {
		return nil // it has ended
	}
	defer func() { _ = p.Release() }() // frees a handle, cannot matter
	if !f.alive(dir) {
		return nil
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to %s (pid %d): %w", sig, f.name, f.pid, err)
	}
	return nil
}

// watch turns a found process into a child; it polls until stop is closed.
func (f found) watch(dir string, stop <-chan struct{}) child {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for f.alive(dir) {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
		close(done)
	}()
	return child{PID: f.pid, StartedAt: f.at, Done: done, Exit: func() string { return "unknown: started by an earlier supervisor" }}
}

// spawn starts a process of the world in a session of its own, with its output
// at the end of a log file, and the directory of the world as its own.
func spawn(dir, name, logFile string, argv []string) (child, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return child{}, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives every context here
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(withoutMarker(os.Environ()), markerKey+"="+dir+"|"+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return child{}, fmt.Errorf("start %s: %w", name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	return child{
		PID: cmd.Process.Pid, StartedAt: time.Now(), Done: done,
		Exit: func() string { return cmd.ProcessState.String() },
	}, nil
}

func withoutMarker(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, markerKey+"=") })
}
