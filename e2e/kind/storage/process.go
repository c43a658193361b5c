package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	p.Start, _, _ = stat(p.PID)    // nobody has waited for it yet, so its number is its own
	go func() { _ = cmd.Wait() }() // how it ended is in its log
	return p, nil
}

// alive reports whether the process runs or is paused.
func (p process) alive() bool {
	start, runs, err := stat(p.PID)
	return err == nil && runs && start == p.Start
}

// stat reads what the kernel says of a process; one that has ended and was not
// waited for does not run.
func stat(pid int) (start string, runs bool, err error) {
	if pid <= 0 {
		return "", false, os.ErrProcessDone
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", false, err
	}
	// The second field is the name in brackets, which may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return "", false, fmt.Errorf("process %d: cannot read %q", pid, b)
	}
	return fields[19], fields[0] != "Z" && fields[0] != "X", nil
}

func (p process) signal(sig syscall.Signal) error {
	if !p.alive() {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.PID, sig)
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
