package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what this machine gives to containers.
type Machine struct {
	// CgroupV1 says that the machine has version 1 of control groups.
	CgroupV1 bool
	// NoSysResource says that root may not raise limits here: a privileged
	// container asks for that and fails.
	NoSysResource bool
}

// Inspect finds out.
func Inspect() (Machine, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return Machine{}, fmt.Errorf("look at the control groups: %w", err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Machine{}, err
	}
	has, err := hasCapability(string(status), unix.CAP_SYS_RESOURCE)
	if err != nil {
		return Machine{}, err
	}
	return Machine{
		CgroupV1: fs.Type != unix.CGROUP2_SUPER_MAGIC,
		// who is not root sees nothing of what the daemon may
		NoSysResource: os.Geteuid() == 0 && !has,
	}, nil
}

// hasCapability reads the bounding set of a process's status: what a child of
// root can have at all.
func hasCapability(status string, capability int) (bool, error) {
	lines := bufio.NewScanner(strings.NewReader(status))
	for lines.Scan() {
		set, ok := strings.CutPrefix(lines.Text(), "CapBnd:")
		if !ok {
			continue
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
		if err != nil {
			return false, fmt.Errorf("read the bounding set: %w", err)
		}
		return bits&(1<<capability) != 0, nil
	}
	return false, errors.New("no bounding set in the process's status")
}

// limits that several nodes together exceed: kube-proxy then crash-loops in one
// that kind calls ready.
func limits() map[string]int {
	return map[string]int{
		"/proc/sys/fs/inotify/max_user_instances": 1024,
		"/proc/sys/fs/inotify/max_user_watches":   524288,
	}
}

// prepare raises what is too low for several nodes.
func (m Machine) prepare(say func(string, ...any)) error {
	for path, want := range limits() {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if have >= want {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
		if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0o644); err != nil {
			return fmt.Errorf("%s is %d, several nodes need %d (sysctl -w %s=%d): %w", name, have, want, name, want, err)
		}
		say("%s raised from %d to %d", name, have, want)
	}
	// kind mounts it into each node
	if os.Geteuid() == 0 {
		return os.MkdirAll("/lib/modules", 0o755)
	}
	return nil
}
