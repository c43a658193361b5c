package storage

import (
	"bytes"
	"context"
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

// process is one process of this machine, told by its start time from another
// that has its number later. The zero value is none.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks since boot
}

// spawn starts a process in a session of its own, so that what ends this
// program's does not end it.
func spawn(out *os.File, args, env []string) (process, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives its starter
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process{}, err
	}
	p := process{PID: cmd.Process.Pid}
	p.Start, _, _ = stat(procDir(p.PID)) // nobody has waited for it yet, so its number is its own
	go func() { _ = cmd.Wait() }()       // how it ended is in its log
	return p, nil
}

// alive reports whether the process runs or is paused. Of one that was killed
// the first thread may have ended while others still hold its sockets.
func (p process) alive() bool {
	start, _, err := stat(procDir(p.PID))
	if err != nil || start != p.Start {
		return false
	}
	all, err := p.threads("Z", "X") // ended, and not yet waited for
	return err != nil || !all
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// stat reads what the kernel says of a process or thread: when it began, and the
// letter of what it does.
func stat(dir string) (start, status string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return "", "", err
	}
	// The second field is the name in brackets, which may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return "", "", fmt.Errorf("%s: cannot read %q", dir, b)
	}
	return fields[19], fields[0], nil
}

func (p process) signal(sig syscall.Signal) error {
	if !p.alive() {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.PID, sig)
}

// pause stops the process and returns when each of its threads stands; the
// signal itself only asks for it.
func (p process) pause(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if stands, err := p.threads("T"); stands || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// threads reports whether each thread is in one of the states.
func (p process) threads(states ...string) (bool, error) {
	threads, err := filepath.Glob(procDir(p.PID) + "/task/*")
	if err != nil {
		return false, err
	}
	for _, dir := range threads {
		_, status, err := stat(dir)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread ended
		}
		if err != nil || !slices.Contains(states, status) {
			return false, err
		}
	}
	return true, nil
}

// grace is how long a process may take to end by itself.
const grace = 3 * time.Second

// end ends the process, paused or not, and returns when it is gone.
func (p process) end(ctx context.Context) error {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.signal(sig); err != nil {
			break // it is gone
		}
	}
	for p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("end process %d: %w", p.PID, context.Cause(ctx))
		case <-deadline.C:
			_ = p.signal(syscall.SIGKILL) // if it is gone meanwhile, the better
		case <-tick.C:
		}
	}
	return nil
}
