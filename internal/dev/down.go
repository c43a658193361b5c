package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// How long processes get to end after they were asked to.
const (
	endTimeout  = 20 * time.Second
	killTimeout = 5 * time.Second
)

// down ends the world: agents, then the Flink clusters of all their runs, then
// the hub. State stays, so that up brings the jobs back. purge removes the directory too.
func (d dev) down(ctx context.Context, purge bool) error {
	if !d.at.exists() {
		return fmt.Errorf("%s holds no world: nothing to take down", d.at)
	}
	unlock, err := waitLock(ctx, d.at.lockFile("up"))
	if err != nil {
		return err
	}
	defer unlock()
	p := newProgress(d.out)
	w, _, err := d.at.load()
	if err != nil {
		return err
	}
	if err := p.step("supervisor ended", func(func(string)) error { return d.endSupervisor(ctx) }); err != nil {
		return err
	}
	if err := p.step("agents ended", func(func(string)) error {
		return d.end(ctx, func(name string) bool { return strings.HasPrefix(name, agentPrefix) })
	}); err != nil {
		return err
	}
	for _, c := range w.Clusters {
		if !isFile(d.at.agentConfig(c.Name)) {
			continue
		}
		if err := p.step("runs of "+c.Name, func(func(string)) error {
			_, err := d.run(ctx, d.bin.agentDown(d.at, c.Name))
			return err
		}); err != nil {
			return err
		}
	}
	if err := p.step("hub ended", func(func(string)) error {
		return d.end(ctx, func(string) bool { return true })
	}); err != nil {
		return err
	}
	if purge {
		d.forgetContext(ctx)
		return p.step("files removed", func(say func(string)) error {
			say(string(d.at))
			return os.RemoveAll(string(d.at))
		})
	}
	return nil
}

// endSupervisor has the supervisor leave, or ends it when it does not answer.
func (d dev) endSupervisor(ctx context.Context) error {
	_ = d.at.control(ctx, http.MethodPost, "/leave", nil, nil) // one that does not hear is ended by a signal
	return d.end(ctx, func(name string) bool { return name == supervisorName })
}

// end asks the world's processes of some names to end, and ends those that do
// not. It returns when none is left.
func (d dev) end(ctx context.Context, which func(name string) bool) error {
	for _, try := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, endTimeout}, {syscall.SIGKILL, killTimeout}} {
		left, err := d.living(which)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, f := range left {
			if err := f.signal(string(d.at), try.signal); err != nil {
				return err
			}
		}
		waiting, cancel := context.WithTimeout(ctx, try.wait)
		err = poll(waiting, func() (bool, error) {
			left, err := d.living(which)
			return len(left) == 0, err
		})
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	left, err := d.living(which)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s (pid %d) does not end", left[0].name, left[0].pid)
	}
	return err
}

func (d dev) living(which func(name string) bool) ([]found, error) {
	all, err := findProcesses(string(d.at))
	if err != nil {
		return nil, err
	}
	var out []found
	for _, f := range all {
		if which(f.name) {
			out = append(out, f)
		}
	}
	return out, nil
}
