package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Bounds of what is kept of the past.
const (
	keptRuns   = 3 // ended runs of a job, beside the one that is brought up
	keptStarts = 4 // ended starts of one TaskManager
)

// Ensure implements reconcile.Runtime. It starts a JobManager if none of this
// run ever came up so far that it answered; one that did and has ended means
// that the run is over, which is an error here.
func (r *Runtime) Ensure(ctx context.Context, l flink.Launch) error {
	if run, ok := parseRun(l.Run.Name()); !ok || run != l.Run || strings.ContainsAny(l.Run.UID, "/\x00") {
		return fmt.Errorf("ensure run: %q is no name of a run", l.Run.Name())
	}
	unlock, err := r.lock(ctx, l.Run.Name())
	if err != nil {
		return err
	}
	defer unlock()
	home, err := r.distribution(l.Spec.FlinkVersion)
	if err != nil {
		return err
	}
	release, err := r.admit(l)
	if err != nil {
		return err
	}
	defer release()
	defer r.lookAgain()
	e := ensuring{Runtime: r, launch: l, name: l.Run.Name(), dir: r.dir(l.Run.Name()), home: home}
	if err := e.do(ctx); err != nil {
		return fmt.Errorf("ensure run %s: %w", l.Run, err)
	}
	return nil
}

// distribution finds the unpacked Flink of a version.
func (r *Runtime) distribution(version string) (string, error) {
	var known []string
	for v, home := range r.cfg.Dists {
		if v == version || strings.HasPrefix(v, version+".") || strings.HasPrefix(version, v+".") {
			return home, nil
		}
		known = append(known, v)
	}
	slices.Sort(known)
	return "", refuse(flink.RefusedVersion, "no Flink %s here: there are %s", version, strings.Join(known, ", "))
}

// ensuring is one call of Ensure.
type ensuring struct {
	*Runtime
	launch flink.Launch
	name   string
	dir    runDir
	home   string
}

func (e *ensuring) do(ctx context.Context) error {
	recorded, err := e.dir.starts()
	if err != nil {
		return err
	}
	all, err := e.processes(0)
	if err != nil {
		return err
	}
	alive := rolesOf(of(all, e.name))
	jm, known := lastJobManager(withUnrecorded(recorded, alive))
	if known && !alive[jm] && e.dir.cameUp(jm) {
		return fmt.Errorf("its JobManager %s has ended (exit %d): the run is over", jm, e.dir.exit(jm))
	}
	for _, sub := range []string{"conf", "starts", "exits", "logs", "tmp"} {
		if err := os.MkdirAll(e.dir.path(sub), 0o750); err != nil {
			return err
		}
	}
	if err := e.installJar(); err != nil {
		return err
	}
	if !alive[jm] {
		// TaskManagers of a JobManager that never came up know its old ports.
		if len(recorded)+len(alive) > 0 {
			if err := e.end(ctx, e.name); err != nil {
				return err
			}
			alive = nil
		}
		e.prune(all)
		if err := e.startJobManager(ctx, role{jobManager: true, start: jm.start + 1}, all); err != nil {
			return err
		}
	}
	return e.startTaskManagers(recorded, alive)
}

func lastJobManager(all []started) (role, bool) {
	last := role{jobManager: true}
	for _, s := range all {
		if s.role.jobManager && s.role.start > last.start {
			last = s.role
		}
	}
	return last, last.start > 0
}

// startJobManager chooses ports, puts all on record, and starts.
func (e *ensuring) startJobManager(ctx context.Context, ro role, all []found) error {
	ports, err := freePorts(ctx, e.portsInUse(all))
	if err != nil {
		return err
	}
	cfg, err := e.config(ports)
	if err != nil {
		return err
	}
	if dir, ok := localPath(cfg.Dirs.Checkpoints); ok {
		// Its absence is later read as storage that is gone.
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("create the checkpoints directory: %w", err)
		}
	}
	if err := e.dir.write(record{Launch: e.launch, Version: e.launch.Spec.FlinkVersion, Ports: ports}); err != nil {
		return fmt.Errorf("record the launch: %w", err)
	}
	for file, text := range map[string]string{"config.yaml": cfg.YAML, "log4j.properties": cfg.Log4j} {
		if err := replaceFile(e.dir.path("conf", file), []byte(text)); err != nil {
			return err
		}
	}
	return e.start(cfg.JobManager, ro)
}

// config writes the configuration; a spec that cannot be satisfied is a definite no.
func (e *ensuring) config(ports config.Ports) (config.Config, error) {
	cfg, err := config.For(e.launch, config.Place{
		FlinkVersion: e.launch.Spec.FlinkVersion, StateRoot: e.cfg.StateRoot, Upload: e.dir.upload(), Ports: ports,
	})
	if err != nil {
		return config.Config{}, refuse(flink.RefusedProgram, "%v", err)
	}
	return cfg, nil
}

// startTaskManagers starts those that are missing.
func (e *ensuring) startTaskManagers(recorded []started, alive map[role]bool) error {
	rec, ok, err := e.dir.read()
	if err != nil || !ok {
		return errors.Join(err, errors.New("no record of its launch"))
	}
	cfg, err := e.config(rec.Ports)
	if err != nil {
		return err
	}
	last := make(map[int]int)
	lives := make(map[int]bool)
	for _, s := range withUnrecorded(recorded, alive) {
		if !s.role.jobManager {
			last[s.role.index] = max(last[s.role.index], s.role.start)
			lives[s.role.index] = lives[s.role.index] || alive[s.role]
		}
	}
	for i := 1; i <= int(e.launch.Spec.TaskManagers()); i++ {
		if lives[i] {
			continue
		}
		if err := e.start(cfg.TaskManager, role{index: i, start: last[i] + 1}); err != nil {
			return err
		}
		for _, s := range recorded {
			if !s.role.jobManager && s.role.index == i && s.role.start <= last[i]+1-keptStarts {
				if err := e.dir.forget(s.role); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// start records one process start, then makes it.
func (e *ensuring) start(p config.Process, ro role) error {
	command := p.Command(config.Instance{
		ID: ro.String(), Java: e.cfg.Java, ClassPath: filepath.Join(e.home, "lib", "*"),
		ConfDir: e.dir.path("conf"), TmpDir: e.dir.path("tmp", ro.String()), LogFile: e.dir.log(ro),
	})
	next := process{run: e.name, dir: e.dir, role: ro, command: command}
	if plugins := filepath.Join(e.home, "plugins"); isDir(plugins) {
		next.env = append(next.env, "FLINK_PLUGINS_DIR="+plugins)
	}
	if err := e.dir.recordStart(ro, time.Now()); err != nil {
		return fmt.Errorf("record the start of %s: %w", ro, err)
	}
	if err := spawn(e.site, next, e.lookAgain); err != nil {
		return err
	}
	e.lookAgain()
	e.cfg.Logger.Info("process started", "run", e.name, "role", ro.String())
	return nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// prune removes the directories of long ended runs of this job. State is not in them.
func (e *ensuring) prune(all []found) {
	runs, err := e.runsOf(e.launch.Run.UID, nil)
	if err != nil {
		e.cfg.Logger.Warn("old runs cannot be listed", "err", err)
		return
	}
	alive := living(all)
	runs = slices.DeleteFunc(runs, func(run flink.Run) bool { return run == e.launch.Run || alive[run.Name()] })
	for _, run := range runs[:max(len(runs)-keptRuns, 0)] {
		if err := os.RemoveAll(string(e.Runtime.dir(run.Name()))); err != nil {
			e.cfg.Logger.Warn("an old run's directory cannot be removed", "run", run.Name(), "err", err)
		}
	}
}

// End implements reconcile.Runtime. Logs stay; temporary files and the copy of the jar go.
func (r *Runtime) End(ctx context.Context, run flink.Run) error {
	unlock, err := r.lock(ctx, run.Name())
	if err != nil {
		return err
	}
	defer unlock()
	defer r.lookAgain()
	if err := r.end(ctx, run.Name()); err != nil {
		return fmt.Errorf("end run %s: %w", run, err)
	}
	d := r.dir(run.Name())
	return errors.Join(os.RemoveAll(d.path("tmp")), os.RemoveAll(d.upload()))
}

// Collect implements reconcile.Runtime: directories of old runs go when newer ones come up, nothing else is left.
func (r *Runtime) Collect(context.Context, string, []flink.Run) error { return nil }

// again is when a process that did not end is told once more: a signal that
// comes while a wrapper's child is about to become its command is lost.
const again = 500 * time.Millisecond

// end returns when no process of a run is left. Wrappers catch TERM and end when
// their command has ended. The last look is made twice: a process is not to be
// seen for the moment in which it turns into another program.
func (r *Runtime) end(ctx context.Context, run string) error {
	deadline := time.Now().Add(r.cfg.Grace)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	told := make(map[found]time.Time)
	for empty := 0; ; {
		all, err := r.processes(0)
		if err != nil {
			return err
		}
		own := of(all, run)
		if len(own) > 0 {
			empty = 0
		} else if empty++; empty == 2 {
			return nil
		}
		now := time.Now()
		for _, f := range own {
			sig := syscall.SIGTERM
			if now.After(deadline) {
				sig = syscall.SIGKILL
			} else if now.Sub(told[f]) < again {
				continue
			}
			told[f] = now
			if err := signal(r.site, f, sig); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of run %s are left: %w", len(own), run, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
