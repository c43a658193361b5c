package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Stop ends the engine of its own below o.State, with every container in it, and
// removes all it has. Where there is none it does nothing. found says whether
// there was one.
func Stop(ctx context.Context, o Options) (found bool, err error) {
	state := o.state()
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	unlock, err := lockState(ctx, state)
	if err != nil {
		return true, err
	}
	defer unlock()
	e := &Engine{Host: "unix://" + filepath.Join(state, socketName), Own: true}
	if e.answers(ctx) == nil {
		if err := e.empty(ctx); err != nil {
			return true, err
		}
	}
	if err := endDaemon(ctx, state); err != nil {
		return true, err
	}
	if err := unmountBelow(state); err != nil {
		return true, err
	}
	return true, errors.Join(os.RemoveAll(state), os.Remove(lockPath(state)))
}

// empty removes containers and networks, so that no process and no bridge stays.
func (e *Engine) empty(ctx context.Context) error {
	ids, err := e.Docker(ctx, "ps", "-aq")
	if err != nil {
		return err
	}
	if list := strings.Fields(ids); len(list) > 0 {
		if _, err := e.Docker(ctx, append([]string{"rm", "-f", "-v"}, list...)...); err != nil {
			return err
		}
	}
	nets, err := e.Docker(ctx, "network", "ls", "-q", "--filter", "type=custom")
	if err != nil {
		return err
	}
	if list := strings.Fields(nets); len(list) > 0 {
		_, err = e.Docker(ctx, append([]string{"network", "rm"}, list...)...)
	}
	return err
}

// endDaemon ends the daemon of the pid file, and waits for it. Its containerd
// ends with it.
func endDaemon(ctx context.Context, state string) error {
	pid, err := daemonPID(state)
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end dockerd: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(30 * time.Second)
	for {
		select {
		case <-tick.C:
			if left, err := daemonPID(state); err != nil || left != pid {
				return err
			}
			if syscall.Kill(pid, 0) != nil {
				return nil
			}
		case <-patience:
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill dockerd: %w", err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// daemonPID returns the process that runs this state's daemon, 0 for none. A pid
// file of before a reboot may name anybody.
func daemonPID(state string) (int, error) {
	b, err := os.ReadFile(filepath.Join(state, pidName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, nil //nolint:nilerr // half written by one that was killed
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !slices.Contains(strings.Split(string(args), "\x00"), filepath.Join(state, configName)) {
		return 0, nil
	}
	return pid, nil
}

// inherit deals with the daemon of before. One that lives is given time, for it
// may be starting; one that still does not answer is ended. Of one that is no
// more the pid file is removed: a new one would take any process of that number
// for itself.
func (e *Engine) inherit(ctx context.Context, o Options, patience time.Duration) (answers bool, err error) {
	state := o.state()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		pid, err := daemonPID(state)
		if err != nil {
			return false, err
		}
		if pid == 0 {
			break
		}
		if e.answers(ctx) == nil {
			return true, nil
		}
		if time.Since(began) > patience {
			o.say("dockerd (pid %d) runs and does not answer: it is ended", pid)
			if err := endDaemon(ctx, state); err != nil {
				return false, err
			}
			break
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
		}
	}
	err = os.Remove(filepath.Join(state, pidName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return false, err
}

// unmountBelow undoes mounts that a killed daemon left, the innermost first.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(mountsBelow(b, dir)) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

func mountsBelow(mountinfo []byte, dir string) []string {
	var all []string
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		// the kernel writes blanks as octal
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		if strings.HasPrefix(point, strings.TrimSuffix(dir, "/")+"/") {
			all = append(all, point)
		}
	}
	return all
}

func lockPath(state string) string { return strings.TrimSuffix(state, "/") + ".lock" }

// lockState keeps two from starting or stopping at once. The file lies beside
// the directory, which Stop removes, and the file with it: who waited for it
// then holds a file that is gone, and takes the new one.
func lockState(ctx context.Context, state string) (unlock func(), err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := os.OpenFile(lockPath(state), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && current(f) {
			return func() { _ = f.Close() }, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func current(f *os.File) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	return err == nil && os.SameFile(held, named)
}
