package process

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// maxTaskManagers bounds the ended TaskManager starts that are told of.
const maxTaskManagers = 16

// Observe implements reconcile.Runtime. What it says of processes is at most 200 ms old.
func (r *Runtime) Observe(ctx context.Context, uid string) ([]flink.RunObserved, flink.Room, error) {
	if err := ctx.Err(); err != nil {
		return nil, flink.Room{}, context.Cause(ctx)
	}
	// Directories before processes: a start is on record before its process
	// exists, so a recorded start without a process has ended, or never was.
	known, err := r.runsOf(uid, nil)
	if err != nil {
		return nil, flink.Room{}, err
	}
	recorded := make(map[string][]started, len(known))
	for _, run := range known {
		if recorded[run.Name()], err = r.dir(run.Name()).starts(); err != nil {
			return nil, flink.Room{}, fmt.Errorf("observe run %s: %w", run, err)
		}
	}
	r.mu.Lock()
	all, err := r.look(fresh)
	room := flink.Room{MemoryTotal: r.cfg.MemoryTotal}
	if err == nil {
		room.MemoryUsed = r.used(all, "")
	}
	r.mu.Unlock()
	if err != nil {
		return nil, flink.Room{}, fmt.Errorf("observe: %w", err)
	}
	runs, err := r.runsOf(uid, all)
	if err != nil {
		return nil, flink.Room{}, err
	}
	var observed []flink.RunObserved
	for _, run := range runs {
		observed = append(observed, r.observe(run, recorded[run.Name()], of(all, run.Name())))
	}
	return observed, room, nil
}

func (r *Runtime) observe(run flink.Run, recorded []started, own []found) flink.RunObserved {
	d := r.dir(run.Name())
	o := flink.RunObserved{Run: run}
	rec, ok, err := d.read()
	if err != nil {
		r.cfg.Logger.Warn("run's record cannot be read", "run", run.Name(), "err", err)
	}
	if ok {
		o.Launch = &rec.Launch
		o.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", rec.Ports.REST)
	}
	alive, newest := rolesOf(own), 0
	for _, s := range withUnrecorded(recorded, alive) {
		p := flink.Process{ID: s.role.String(), StartedAt: s.at, Log: d.log(s.role)}
		if alive[s.role] {
			p.State = flink.ProcessRunning
		} else {
			p.State, p.ExitCode = flink.ProcessExited, d.exit(s.role)
			p.Reason = r.lastWords(d, s.role, p.ExitCode)
		}
		if s.role.jobManager {
			if s.role.start >= newest { // of many starts, the last
				o.JobManager, newest = p, s.role.start
			}
		} else {
			o.TaskManagers = append(o.TaskManagers, p)
		}
	}
	o.TaskManagers = bounded(o.TaskManagers)
	if o.Alive() {
		o.Memory = rec.Launch.Spec.MemoryBytes()
		if st, err := os.Stat(d.jar()); err != nil {
			o.JarMissing = fmt.Sprintf("its copy is gone: %v", err)
		} else if !st.Mode().IsRegular() {
			o.JarMissing = fmt.Sprintf("%s is not a file", d.jar())
		}
	}
	return o
}

// rolesOf is the set of roles that live.
func rolesOf(own []found) map[role]bool {
	roles := make(map[role]bool)
	for _, f := range own {
		if ro, ok := parseRole(f.role); ok {
			roles[ro] = true
		}
	}
	return roles
}

// withUnrecorded adds living processes whose record was lost.
func withUnrecorded(recorded []started, alive map[role]bool) []started {
	lost := maps.Clone(alive)
	for _, s := range recorded {
		delete(lost, s.role)
	}
	all := slices.Clone(recorded)
	for ro := range lost {
		all = append(all, started{role: ro})
	}
	return all
}

// bounded drops the oldest ended TaskManagers above the bound.
func bounded(tms []flink.Process) []flink.Process {
	ended := 0
	for _, p := range tms {
		if !p.Exists() {
			ended++
		}
	}
	return slices.DeleteFunc(tms, func(p flink.Process) bool {
		if p.Exists() || ended <= maxTaskManagers {
			return false
		}
		ended--
		return true
	})
}

// maxOut bounds what a process may leave on its standard output.
const maxOut = 10 << 20

// Run implements reconcile.Runtime: it looks each second, and at once when a
// child of this agent ends.
func (r *Runtime) Run(ctx context.Context, wake func(uid string)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before map[found]bool
	for {
		all, err := r.processes(fresh)
		if err != nil {
			r.cfg.Logger.Warn("processes cannot be listed", "err", err)
		} else {
			now := make(map[found]bool, len(all))
			for _, f := range all {
				now[f] = true
			}
			for _, uid := range changed(before, now) {
				wake(uid)
			}
			before = now
			r.trim(all)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case <-r.poke:
		}
	}
}

// changed lists the jobs of processes that are in one set alone.
func changed(before, now map[found]bool) []string {
	uids := make(map[string]bool)
	note := func(these, others map[found]bool) {
		for f := range these {
			if run, ok := parseRun(f.run); ok && !others[f] {
				uids[run.UID] = true
			}
		}
	}
	note(before, now)
	note(now, before)
	return slices.Sorted(maps.Keys(uids))
}

// trim empties standard outputs that have grown too long. They are written in
// append mode, so writers go on at the new end.
func (r *Runtime) trim(all []found) {
	for _, f := range all {
		ro, ok := parseRole(f.role)
		if !ok {
			continue
		}
		path := r.dir(f.run).out(ro)
		if st, err := os.Stat(path); err == nil && st.Size() > maxOut {
			if err := os.Truncate(path, 0); err != nil {
				r.cfg.Logger.Warn("output cannot be cut", "path", path, "err", err)
			}
		}
	}
}
