package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markerKey is the environment variable by which processes are found. Its value
// is <site>/<name of the run>/<role>.
const markerKey = "WATERWHEEL_RUN"

// procfs is where the kernel lists processes.
const procfs = "/proc"

// found is one living process that carries a marker of this site: a JVM, the
// wrapper around it, or something that the program has started.
type found struct {
	pid   int
	start string // of the process, in clock ticks since boot: tells two uses of a pid apart
	run   string // name of the run
	role  string
}

// scanProcesses lists the marked processes of a site. A process that ends during the
// scan may be missing. Zombies carry no marker: they have ended.
func scanProcesses(proc, site string) ([]found, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []found
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f, ok, err := inspect(proc, site, pid)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
}

// inspect reads whether a pid is a marked process now.
func inspect(proc, site string, pid int) (found, bool, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	env, err := environ(dir, becoming)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH), errors.Is(err, fs.ErrPermission):
		return found{}, false, nil // ended, or somebody else's
	case err != nil:
		return found{}, false, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	run, role, ok := marker(env, site)
	if !ok {
		return found{}, false, nil
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return found{}, false, nil //nolint:nilerr // it ended in between
	}
	start, alive := startOf(stat)
	return found{pid: pid, start: start, run: run, role: role}, alive, nil
}

// becoming bounds how long is waited for a process to become another program, which may hang with its file.
const becoming = time.Second

// environ reads a process's environment. A process that is just becoming another program has none for an instant; it is
// looked at again, since it would otherwise count as ended.
func environ(dir string, limit time.Duration) ([]byte, error) {
	settled := false
	for until := time.Now().Add(limit); ; {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || len(env) > 0 || settled {
			return env, err
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			return nil, err
		}
		if settled = !unsettled(stat) || time.Now().After(until); !settled { // else it may have settled since its environment was read
			time.Sleep(time.Millisecond)
		}
	}
}

// unsettled reads from a line of /proc/<pid>/stat whether a process has memory, and no place in it for an environment yet.
// A kernel's thread and a zombie have no memory.
func unsettled(stat []byte) bool {
	fields := fieldsOf(stat)
	const size, envEnd = 20, 48 // fields 23 and 51 of the line
	return len(fields) > envEnd && fields[size] != "0" && fields[envEnd] == "0"
}

// marker finds the marker in an environment block.
func marker(env []byte, site string) (run, role string, ok bool) {
	prefix := []byte(markerKey + "=" + site + "/")
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if rest, found := bytes.CutPrefix(v, prefix); found {
			return strings.Cut(string(rest), "/")
		}
	}
	return "", "", false
}

// startOf reads the start time from a line of /proc/<pid>/stat; alive is false
// for a zombie.
func startOf(stat []byte) (start string, alive bool) {
	fields := fieldsOf(stat)
	const state, startTime = 0, 19 // fields 3 and 22 of the line
	if len(fields) <= startTime {
		return "", false
	}
	return fields[startTime], fields[state] != "Z" && fields[state] != "X"
}

// fieldsOf are those of a line of /proc/<pid>/stat behind the command, which may hold blanks and brackets.
func fieldsOf(stat []byte) []string {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return nil
	}
	return strings.Fields(string(stat[end+1:]))
}

// signal sends sig to the very process that was found. A process that has ended
// is no error, nor is a pid that somebody else has got since.
func signal(site string, f found, sig syscall.Signal) error {
	p, err := os.FindProcess(f.pid) // holds a pidfd: from here on the pid cannot change hands
	if err != nil {
		return nil
	}
	defer func() { _ = p.Release() }()
	now, ok, err := inspect(procfs, site, f.pid)
	if err != nil || !ok || now != f {
		return err
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to process %d of run %s: %w", sig, f.pid, f.run, err)
	}
	return nil
}
