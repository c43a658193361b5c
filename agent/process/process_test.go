package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/flink"
)

// standIn plays the java command. Its last act is to become a sleep, unless
// the file "script" beside it says something else for this kind of process;
// $log is where Flink would write its log.
const standIn = `#!/bin/sh
kind=jm
for a in "$@"; do
  case "$a" in
    -Dlog.file=*) log=${a#-Dlog.file=} ;;
    *TaskManagerRunner) kind=tm ;;
  esac
done
env >"${log%.log}.env"
if [ -f "$(dirname "$0")/script-$kind" ]; then . "$(dirname "$0")/script-$kind"; fi
echo "Rest endpoint listening at 127.0.0.1" >>"$log"
exec sleep 600
`

// world is an agent's directory and what its runtime needs.
type world struct {
	t   *testing.T
	cfg process.Config
	bin string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, bin: filepath.Join(dir, "bin")}
	w.write(filepath.Join(w.bin, "java"), standIn)
	w.write(filepath.Join(dir, "agent", "usrlib", "job.jar"), "PK")
	w.cfg = process.Config{
		Dir: filepath.Join(dir, "agent"), Java: filepath.Join(w.bin, "java"),
		Dists: map[string]string{"2.3": filepath.Join(dir, "flink")}, Grace: 5 * time.Second,
	}
	t.Cleanup(func() { // whatever a test did, none of its processes stays, to write into a directory that is being removed
		eventually(t, "no process is left", func() bool {
			left := w.pids("")
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return len(left) == 0
		})
	})
	return w
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// script says what a kind of process ("jm", "tm") does before it sleeps.
func (w *world) script(kind, text string) { w.write(filepath.Join(w.bin, "script-"+kind), text) }

// agent is a runtime as a fresh agent makes it.
func (w *world) agent() *process.Runtime {
	w.t.Helper()
	r, err := process.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func launch(uid string, run, taskManagers int32) flink.Launch {
	return flink.Launch{
		Run: flink.Run{UID: uid, Term: 1, Run: run}, Tenant: "default", Name: "clicks",
		Spec: flink.Default(flink.Spec{
			FlinkVersion: "2.3", Parallelism: taskManagers, Jar: flink.Jar{URI: "local:///opt/flink/usrlib/job.jar"},
		}),
	}
}

func (w *world) ensure(r *process.Runtime, l flink.Launch) {
	w.t.Helper()
	if err := r.Ensure(w.t.Context(), l); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) end(r *process.Runtime, l flink.Launch) {
	w.t.Helper()
	if err := r.End(w.t.Context(), l.Run); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) observe(r *process.Runtime, l flink.Launch) flink.RunObserved {
	w.t.Helper()
	runs, _, err := r.Observe(w.t.Context(), l.Run.UID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range runs {
		if o.Run == l.Run {
			return o
		}
	}
	return flink.RunObserved{Run: l.Run}
}

// pids asks the kernel for the marked processes of this world's directory whose
// command line holds a word.
func (w *world) pids(word string) []int {
	w.t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		w.t.Fatal(err)
	}
	var pids []int
	for _, path := range paths {
		env, _ := os.ReadFile(path)
		if !strings.Contains(string(env), "WATERWHEEL_RUN=") || !strings.Contains(string(env), "HOME="+w.cfg.Dir+"/") {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && strings.Contains(string(line), word) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually polls real processes until they are as they should be.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// up brings a run up and waits until its JVMs are past their start.
func (w *world) up(r *process.Runtime, l flink.Launch) {
	w.t.Helper()
	w.ensure(r, l)
	want := 1 + int(l.Spec.TaskManagers())
	eventually(w.t, fmt.Sprintf("%d JVMs", want), func() bool { return len(w.pids("sleep\x00600")) >= want })
}

func TestRunIsBroughtUpOnce(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 2)
	w.up(r, l)
	w.ensure(r, l)
	w.ensure(w.agent(), l)
	if n := len(w.pids("sleep\x00600")); n != 3 {
		t.Errorf("%d JVMs, want 1 JobManager and 2 TaskManagers", n)
	}
	o := w.observe(r, l)
	if o.JobManager.State != flink.ProcessRunning || o.TaskManagersAlive() != 2 || o.Memory != l.Spec.MemoryBytes() ||
		!strings.HasPrefix(o.Endpoint, "http://127.0.0.1:") || o.JarMissing != "" || o.Launch == nil || o.Launch.Run != l.Run {
		t.Errorf("observed %+v", o)
	}
	w.end(r, l)
}

func TestRunOutlivesItsAgentAndIsFoundAgain(t *testing.T) {
	w := newWorld(t)
	l := launch("u1", 1, 1)
	w.up(w.agent(), l)
	next := w.agent()
	if o := w.observe(next, l); o.JobManager.State != flink.ProcessRunning || o.TaskManagersAlive() != 1 {
		t.Errorf("the next agent sees %+v", o)
	}
	if err := os.RemoveAll(filepath.Join(w.cfg.Dir, "runs", l.Run.Name())); err != nil { // not even a record is needed
		t.Fatal(err)
	}
	if o := w.observe(w.agent(), l); o.JobManager.State != flink.ProcessRunning || o.Launch != nil {
		t.Errorf("without its directory: %+v", o)
	}
	w.end(next, l)
	if left := w.pids(""); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestEndLeavesNoProcess(t *testing.T) {
	for name, script := range map[string]string{
		"that ends when told":           "",
		"that does not care":            `trap "" TERM`,
		"that has children of its own":  "sleep 601 & sleep 602 &",
		"that has ended on its own":     "exit 0",
		"whose children ignore signals": `(trap "" TERM; exec sleep 603) &`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Grace = 300 * time.Millisecond
			w.script("tm", script)
			r, l := w.agent(), launch("u1", 1, 2)
			w.ensure(r, l)
			eventually(t, "the JobManager", func() bool { return len(w.pids("sleep\x00600")) > 0 })
			w.end(r, l)
			if left := w.pids(""); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if o := w.observe(r, l); o.Alive() || o.Memory != 0 {
				t.Errorf("observed %+v", o)
			}
			w.end(r, l) // again
		})
	}
}

func TestEndGivesUpWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.cfg.Grace = time.Hour
	w.script("jm", `trap "" TERM`)
	r, l := w.agent(), launch("u1", 1, 1)
	w.up(r, l)
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, why)
	defer cancel()
	if err := r.End(ctx, l.Run); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestHowAProcessEndedIsKept(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		kill   syscall.Signal
		code   int
		reason string
	}{
		"exit":    {script: "exit 3", code: 3},
		"kill -9": {kill: syscall.SIGKILL, code: 137},
		"TERM":    {kill: syscall.SIGTERM, code: 143},
		"cause in the log": {
			script: `printf 'ERROR Could not start\njava.lang.RuntimeException: outer\n\tat a.B\nCaused by: java.net.BindException: inner\n' >"$log"; exit 1`,
			code:   1, reason: "java.net.BindException: inner",
		},
		"out of memory": {
			script: `printf 'java.lang.OutOfMemoryError: Java heap space\n\tat a.B\njava.lang.Exception: later\n' >"$log"; exit 255`,
			code:   255, reason: "java.lang.OutOfMemoryError: Java heap space",
		},
		"only on the output": {script: `echo "Error: Could not create the Java Virtual Machine."; exit 1`, code: 1, reason: "Error: Could not create the Java Virtual Machine."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.script("tm", tc.script)
			r, l := w.agent(), launch("u1", 1, 1)
			w.ensure(r, l)
			if tc.kill != 0 {
				var pids []int
				eventually(t, "the JVMs", func() bool { pids = w.pids("sleep\x00600"); return len(pids) == 2 })
				for _, pid := range pids {
					if err := syscall.Kill(pid, tc.kill); err != nil {
						t.Fatal(err)
					}
				}
			}
			var tm flink.Process
			eventually(t, "its end", func() bool {
				o := w.observe(w.agent(), l)
				tm = o.TaskManagers[0]
				return tm.State == flink.ProcessExited
			})
			if tm.ExitCode != tc.code || tm.Reason != tc.reason || tm.ID != "tm-1-1" || tm.StartedAt.IsZero() {
				t.Errorf("observed %+v, want exit %d, reason %q", tm, tc.code, tc.reason)
			}
			w.end(r, l)
		})
	}
}

func TestKilledWrapperDoesNotHideItsJVM(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 1)
	w.up(r, l)
	wrappers := w.pids("trap : TERM")
	if len(wrappers) != 2 {
		t.Fatalf("wrappers: %v", wrappers)
	}
	for _, pid := range wrappers {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the wrappers' end", func() bool { return len(w.pids("trap : TERM")) == 0 })
	next := w.agent()
	if o := w.observe(next, l); o.JobManager.State != flink.ProcessRunning || o.TaskManagersAlive() != 1 {
		t.Errorf("observed %+v", o)
	}
	w.ensure(next, l)
	if n := len(w.pids("sleep\x00600")); n != 2 {
		t.Errorf("%d JVMs after another Ensure", n)
	}
	w.end(next, l)
	o := w.observe(next, l)
	if o.JobManager.State != flink.ProcessExited || o.JobManager.ExitCode != -1 {
		t.Errorf("nobody wrote how it ended: %+v", o.JobManager)
	}
}

func TestLostTaskManagerIsReplacedUnderANewName(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 2)
	w.up(r, l)
	victim := func(role string) []int {
		var pids []int
		for _, pid := range w.pids("sleep\x00600") {
			env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if strings.Contains(string(env), "/"+role+"\x00") {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for start := 1; start <= 7; start++ {
		role := fmt.Sprintf("tm-2-%d", start)
		eventually(t, role, func() bool { return len(victim(role)) == 1 })
		if err := syscall.Kill(victim(role)[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its end", func() bool { return w.observe(r, l).TaskManagersAlive() == 1 })
		w.ensure(r, l)
	}
	o := w.observe(r, l)
	if last := o.TaskManagers[len(o.TaskManagers)-1]; last.ID != "tm-2-8" || o.TaskManagersAlive() != 2 {
		t.Errorf("observed %+v", o.TaskManagers)
	}
	if len(o.TaskManagers) > 6 {
		t.Errorf("%d starts are kept", len(o.TaskManagers))
	}
	w.end(r, l)
}

func TestJobManagerThatNeverCameUpIsStartedAnewOnOtherPorts(t *testing.T) {
	w := newWorld(t)
	w.script("jm", `echo "java.net.BindException: Could not start rest endpoint on any port in port range 1" >"$log"; exit 1`)
	r, l := w.agent(), launch("u1", 1, 1)
	w.ensure(r, l)
	var before flink.RunObserved
	eventually(t, "its end", func() bool {
		before = w.observe(r, l)
		return before.JobManager.State == flink.ProcessExited
	})
	if !strings.Contains(before.JobManager.Reason, "BindException") {
		t.Errorf("reason %q", before.JobManager.Reason)
	}
	w.script("jm", "")
	w.ensure(r, l)
	after := w.observe(r, l)
	if after.JobManager.State != flink.ProcessRunning || after.JobManager.ID != "jm-2" || after.Endpoint == before.Endpoint {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if after.TaskManagersAlive() != 1 || after.TaskManagers[len(after.TaskManagers)-1].ID != "tm-1-2" {
		t.Errorf("TaskManagers that know the old ports: %+v", after.TaskManagers)
	}
	w.end(r, l)
}

func TestJobManagerThatCameUpIsNeverStartedAgain(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 1)
	w.up(r, l)
	w.end(r, l)
	if err := w.agent().Ensure(t.Context(), l); err == nil || !strings.Contains(err.Error(), "the run is over") {
		t.Errorf("got %v", err)
	}
	if left := w.pids(""); len(left) > 0 {
		t.Errorf("started: %v", left)
	}
}

func TestRecordedStartThatNeverHappenedIsMadeUpFor(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 1)
	w.write(filepath.Join(w.cfg.Dir, "runs", l.Run.Name(), "starts", "jm-1"), "") // the agent was killed after this
	w.ensure(r, l)
	if o := w.observe(r, l); o.JobManager.State != flink.ProcessRunning || o.JobManager.ID != "jm-2" {
		t.Errorf("observed %+v", o)
	}
	w.end(r, l)
}

func TestNoSecretOfTheAgentReachesAProgram(t *testing.T) {
	t.Setenv("AGENT_SECRET", "hush")
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 1)
	w.up(r, l)
	for _, role := range []string{"jm-1", "tm-1-1"} {
		env, err := os.ReadFile(filepath.Join(w.cfg.Dir, "runs", l.Run.Name(), "logs", role+".env"))
		if err != nil {
			t.Fatal(err)
		}
		if s := string(env); strings.Contains(s, "hush") || !strings.Contains(s, "WATERWHEEL_RUN=") || !strings.Contains(s, "PATH=") {
			t.Errorf("%s has %s", role, s)
		}
	}
	w.end(r, l)
}

func TestEndAllLeavesNoProcessOfAnyRun(t *testing.T) {
	w := newWorld(t)
	r := w.agent()
	w.up(r, launch("u1", 1, 1))
	w.up(r, launch("u2", 1, 2))
	if err := w.agent().EndAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := w.pids(""); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := r.EndAll(t.Context()); err != nil { // with nothing to end
		t.Error(err)
	}
}
