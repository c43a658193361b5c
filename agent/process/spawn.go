package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// wrapper runs a command and writes its exit status to the file named by $0. It
// catches the signals that end the command, so as to live to write it.
const wrapper = `trap : TERM INT HUP
"$@"
code=$?
echo $code >"$0.tmp" && mv "$0.tmp" "$0"`

// process is one start to be made.
type process struct {
	run     string // name of the run
	dir     runDir
	role    role
	command []string
	env     []string // beside the common ones
}

// spawn starts p in a session of its own and returns when it can be seen by its
// marker. exited is called when it has ended, if this agent lives then.
func spawn(site string, p process, exited func()) error {
	d, ro := p.dir, p.role
	tmp := d.path("tmp", ro.String())
	if err := os.MkdirAll(tmp, 0o750); err != nil {
		return err
	}
	out, err := os.OpenFile(d.out(ro), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	// No context of ours may end it.
	cmd := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", wrapper, d.path("exits", ro.String())}, p.command...)...)
	cmd.Dir = tmp
	cmd.Stdout, cmd.Stderr = out, out
	// Nothing of the agent's own environment: a program sees its environment, and REST shows it.
	cmd.Env = append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + tmp, "LANG=C.UTF-8",
		markerKey + "=" + site + "/" + p.run + "/" + ro.String(),
	}, p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", ro, err)
	}
	ended := make(chan struct{})
	// It ends with the process or with this agent, whichever is first; nobody
	// waits for it. Without it a dead wrapper would stay a zombie.
	go func() {
		_ = cmd.Wait() // its status is in the file
		close(ended)
		exited()
	}()
	awaitMarker(site, cmd.Process.Pid, ended)
	return nil
}

// seenLimit bounds how long a process that was started may take to be seen.
const seenLimit = 10 * time.Second

// awaitMarker returns when a process that was just started can be seen by its
// marker, or has ended; and at the latest after seenLimit, where this host does not
// show it at all. For an instant after its start it has no environment that others
// could read, and would be taken for one that is gone.
func awaitMarker(site string, pid int, ended <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(seenLimit)
	defer limit.Stop()
	for {
		if _, ok, err := inspect(procfs, site, pid); ok || err != nil {
			return
		}
		select {
		case <-ended:
			return
		case <-limit.C:
			return
		case <-tick.C:
		}
	}
}
