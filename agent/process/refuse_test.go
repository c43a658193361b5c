package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/waterwheel-io/waterwheel/flink"
)

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*flink.Spec)
		kind   flink.RefusalKind
		says   string
	}{
		"missing jar":          {func(s *flink.Spec) { s.Jar.URI = "local:///opt/flink/usrlib/no.jar" }, flink.RefusedJar, "usrlib/no.jar"},
		"missing file":         {func(s *flink.Spec) { s.Jar.URI = "file:///no/such.jar" }, flink.RefusedJar, "/no/such.jar"},
		"directory":            {func(s *flink.Spec) { s.Jar.URI = "file:///tmp" }, flink.RefusedJar, "not a file"},
		"out of its directory": {func(s *flink.Spec) { s.Jar.URI = "local:///opt/flink/usrlib/../../../etc/passwd" }, flink.RefusedJar, "below"},
		"other scheme":         {func(s *flink.Spec) { s.Jar.URI = "https:///job.jar" }, flink.RefusedJar, "file://"},
		"unknown version":      {func(s *flink.Spec) { s.FlinkVersion = "1.20" }, flink.RefusedVersion, "there are 2.3"},
		"memory too small":     {func(s *flink.Spec) { s.TaskManager.Memory = "64Mi" }, flink.RefusedProgram, "spec.taskManager.memory"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, l := w.agent(), launch("u1", 1, 1)
			tc.change(&l.Spec)
			err := r.Ensure(t.Context(), l)
			no, ok := errors.AsType[*flink.Refusal](err)
			if !ok || no.Kind != tc.kind || !strings.Contains(no.Error(), tc.says) || !no.Permanent() {
				t.Errorf("got %v, want %s that says %q", err, tc.kind, tc.says)
			}
			if left := w.pids(""); len(left) > 0 {
				t.Errorf("started: %v", left)
			}
		})
	}
}

func TestDeclaredMemoryNeverExceedsTheHost(t *testing.T) {
	w := newWorld(t)
	one := launch("u0", 1, 1).Spec.MemoryBytes()
	w.cfg.MemoryTotal = 2*one + one/2
	r := w.agent()
	var (
		mu      sync.Mutex
		refused []flink.Launch
		started []flink.Launch
		wg      sync.WaitGroup
	)
	for _, uid := range []string{"u1", "u2", "u3", "u4"} {
		wg.Go(func() {
			l := launch(uid, 1, 1)
			err := r.Ensure(t.Context(), l)
			mu.Lock()
			defer mu.Unlock()
			no, ok := errors.AsType[*flink.Refusal](err)
			switch {
			case err == nil:
				started = append(started, l)
			case ok && no.Kind == flink.RefusedNoRoom && !no.Permanent() && strings.Contains(no.Error(), "MiB"):
				refused = append(refused, l)
			default:
				t.Errorf("%s: %v", uid, err)
			}
		})
	}
	wg.Wait()
	if len(started) != 2 || len(refused) != 2 {
		t.Fatalf("%d started, %d refused", len(started), len(refused))
	}
	next := w.agent() // what lives counts, whoever started it
	if err := next.Ensure(t.Context(), refused[0]); err == nil {
		t.Error("the next agent does not count what lives")
	}
	_, room, err := next.Observe(t.Context(), "u1")
	if err != nil || room.MemoryUsed != 2*one || room.MemoryTotal != w.cfg.MemoryTotal {
		t.Errorf("room %+v, %v", room, err)
	}
	w.ensure(next, started[0]) // it is counted once
	w.end(r, started[0])
	w.ensure(next, refused[0])
	w.end(r, started[1])
	w.end(r, refused[0])
}

func TestLogsOfThreeEndedRunsAreKept(t *testing.T) {
	w := newWorld(t)
	r := w.agent()
	other := launch("u1-t9", 1, 1) // a uid that begins as the other's runs do
	w.up(r, other)
	for run := int32(1); run <= 6; run++ {
		l := launch("u1", run, 1)
		w.ensure(r, l)
		w.end(r, l)
	}
	entries, err := os.ReadDir(filepath.Join(w.cfg.Dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "u1-t1-r3 u1-t1-r4 u1-t1-r5 u1-t1-r6 u1-t9-t1-r1"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	w.end(r, other)
}

func TestJarOfARunIsItsOwn(t *testing.T) {
	w := newWorld(t)
	r, l := w.agent(), launch("u1", 1, 1)
	w.ensure(r, l)
	original := filepath.Join(w.cfg.Dir, "usrlib", "job.jar")
	w.write(original, "built anew")
	copied := filepath.Join(w.cfg.Dir, "runs", l.Run.Name(), "upload", "flink-web-upload", "job.jar")
	if got, err := os.ReadFile(copied); err != nil || string(got) != "PK" {
		t.Errorf("the run's jar is %q, %v", got, err)
	}
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if o := w.observe(r, l); !strings.Contains(o.JarMissing, copied) {
		t.Errorf("missing jar is told as %q", o.JarMissing)
	}
	w.ensure(r, l)
	if o := w.observe(r, l); o.JarMissing != "" {
		t.Errorf("still missing: %q", o.JarMissing)
	}
	w.end(r, l)
}
