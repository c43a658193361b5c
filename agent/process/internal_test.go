package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
)

// patience is far longer than anything here takes on a machine that does much else.
const patience = time.Minute

// sleeper starts a process with a marker that this test ends.
func sleeper(t *testing.T, site, marker string) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Env = []string{markerKey + "=" + site + "/" + marker}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	awaitMarker(site, cmd.Process.Pid, nil)
	return cmd, cmd.Process.Pid
}

// ownSite is one that no other run of these tests has.
func ownSite(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func TestOnlyTheVeryProcessThatWasFoundIsSignalled(t *testing.T) {
	_, pid := sleeper(t, "here", "u1-t1-r1/jm-1")
	jm, ok, err := inspect(procfs, "here", pid)
	if err != nil || !ok || jm.run != "u1-t1-r1" || jm.role != "jm-1" {
		t.Fatalf("found %+v, %t, %v", jm, ok, err)
	}
	for name, change := range map[string]func(*found){
		"another process under the pid": func(f *found) { f.start += "1" },
		"another run":                   func(f *found) { f.run = "u1-t1-r2" },
		"another role":                  func(f *found) { f.role = "jm-2" },
		"a pid that is free":            func(f *found) { f.pid = 1<<22 - 1 },
	} {
		f := jm
		change(&f)
		if err := signal("here", f, syscall.SIGKILL); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := signal("elsewhere", jm, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if now, ok, err := inspect(procfs, "here", pid); err != nil || !ok || now != jm {
		t.Fatalf("it was hit: %+v, %t, %v", now, ok, err)
	}
	if err := signal("here", jm, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for { // a zombie now, until it is waited for: it counts as ended
		if _, ok, _ := inspect(procfs, "here", pid); !ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it was not hit")
		}
	}
}

func TestScanSeesItsOwnSiteAlone(t *testing.T) {
	site := ownSite("a")
	_, mine := sleeper(t, site, "u1-t1-r1/jm-1")
	sleeper(t, ownSite("b"), "u1-t1-r1/jm-1")
	all, err := scanProcesses(procfs, site)
	if err != nil || len(all) != 1 || all[0].pid != mine {
		t.Errorf("found %+v, %v; want process %d", all, err, mine)
	}
	if _, err := scanProcesses(filepath.Join(t.TempDir(), "none"), site); err == nil {
		t.Error("no process list, and no error: that would read as nothing lives")
	}
}

// For an instant a process that becomes another program has no environment: it is not to be taken for one that has ended.
func TestAProcessThatBecomesAnotherProgramIsSeen(t *testing.T) {
	proc := t.TempDir()
	put := func(file, text string) {
		t.Helper()
		path := filepath.Join(proc, "7", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(size, envEnd string) string { // as the kernel writes it: field 23 is the size, 51 the environment's end
		return "7 (sh) S" + strings.Repeat(" 1", 18) + " 4711 " + size + strings.Repeat(" 1", 27) + " " + envEnd + " 0\n"
	}
	put("stat", stat("4096", "0"))
	put("environ", "")
	read := make(chan string, 1)
	go func() {
		env, err := environ(filepath.Join(proc, "7"), patience)
		read <- fmt.Sprint(string(env), err)
	}()
	select {
	case got := <-read:
		t.Errorf("answered %q while nobody can know", got)
	case <-time.After(20 * time.Millisecond):
	}
	const env = markerKey + "=here/u1-t1-r1/jm-1\x00"
	put("environ", env)
	put("stat", stat("4096", "123456"))
	if got := <-read; got != env+"<nil>" {
		t.Errorf("read %q", got)
	}
	if all, err := scanProcesses(proc, "here"); err != nil || len(all) != 1 || all[0].run != "u1-t1-r1" || all[0].start != "4711" {
		t.Errorf("found %+v, %v", all, err)
	}
	for what, text := range map[string]string{
		"a kernel's thread":      stat("0", "0"),
		"one that has none":      stat("4096", "123456"),
		"what cannot be read":    "",
		"a kernel's of long ago": "7 (sh) S 1 2 3",
	} {
		if unsettled([]byte(text)) {
			t.Errorf("%s is waited for", what)
		}
	}
}

func TestStartTimeIsReadPastAnyCommandName(t *testing.T) {
	fields := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for stat, want := range map[string]string{
		"12 (sleep)" + fields:      "4711",
		"12 (a) b (c) S)" + fields: "4711",
		"12 (sleep) S 1":           "",
		"":                         "",
	} {
		if got, _ := startOf([]byte(stat)); got != want {
			t.Errorf("%q: %q, want %q", stat, got, want)
		}
	}
	if _, alive := startOf([]byte("12 (sleep)" + strings.Replace(fields, "S", "Z", 1))); alive {
		t.Error("a zombie lives")
	}
}

func TestNamesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := flink.Run{
			UID:  rapid.StringMatching(`[a-z0-9]{1,6}(-[trz][0-9a-z]{1,3}){0,3}`).Draw(t, "uid"),
			Term: rapid.Int32Range(1, 1<<30).Draw(t, "term"), Run: rapid.Int32Range(1, 1<<30).Draw(t, "run"),
		}
		if got, ok := parseRun(run.Name()); !ok || got != run {
			t.Fatalf("%s was read as %+v, %t", run.Name(), got, ok)
		}
		ro := role{jobManager: rapid.Bool().Draw(t, "jobManager"), start: rapid.IntRange(1, 1000).Draw(t, "start")}
		if !ro.jobManager {
			ro.index = rapid.IntRange(1, 1000).Draw(t, "index")
		}
		if got, ok := parseRole(ro.String()); !ok || got != ro {
			t.Fatalf("%s was read as %+v, %t", ro, got, ok)
		}
	})
	for _, name := range []string{"", "u1", "u1-t1", "u1-t1-r", "u1-t01-r1", "-t1-r1", "u1-r1-t1", "u1-t1-r1.tmp", "u1-t99999999999-r1"} {
		if run, ok := parseRun(name); ok {
			t.Errorf("%q was read as %+v", name, run)
		}
	}
	for _, name := range []string{"", "jm", "jm-1-1", "tm-1", "tm-1-01", "jm-1.tmp", "xm-1"} {
		if ro, ok := parseRole(name); ok {
			t.Errorf("%q was read as %+v", name, ro)
		}
	}
}

func TestCauseIsTheInnermostOfTheLastChain(t *testing.T) {
	for log, want := range map[string]string{
		"":                        "",
		"2026 INFO all is well\n": "",
		"java.io.IOException: a\n\tat x\nCaused by: b.C: first\nCaused by: d.E: second\n\tat y\n":     "d.E: second",
		"java.io.IOException: a\nCaused by: b.C: old\njava.lang.IllegalStateException: new\n\tat x\n": "java.lang.IllegalStateException: new",
		"x.Y: z\njava.lang.OutOfMemoryError: Metaspace\njava.lang.RuntimeException: then\n":           "java.lang.OutOfMemoryError: Metaspace",
		"Caused by: " + strings.Repeat("é", 400):                                                      strings.Repeat("é", reasonRune) + "…",
	} {
		if got := cause(log); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

func TestRolledLogMeansThatTheJobManagerHadCome(t *testing.T) {
	d := runDir(t.TempDir())
	jm := role{jobManager: true, start: 1}
	if d.cameUp(jm) {
		t.Error("without a log")
	}
	write := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(d.log(jm), "starting\n")
	if d.cameUp(jm) {
		t.Error("while starting")
	}
	write(d.log(jm)+".1", "the beginning\n")
	if !d.cameUp(jm) {
		t.Error("its log was rolled over, and it is said never to have come up")
	}
}

func TestWatchWakesTheJobsThatChangedAndCutsLongOutput(t *testing.T) {
	r, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	woken := make(chan string, 10)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, func(uid string) { woken <- uid }) }()
	next := func(want string) {
		t.Helper()
		select {
		case got := <-woken:
			if got != want {
				t.Fatalf("woken %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s was not woken", want)
		}
	}
	out := r.dir("u1-t1-r1").out(role{jobManager: true, start: 1})
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, make([]byte, maxOut+1), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, _ := sleeper(t, r.site, "u1-t1-r1/jm-1")
	next("u1")
	sleeper(t, r.site, "u2-t1-r1/jm-1")
	next("u2")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	next("u1")
	if st, err := os.Stat(out); err != nil || st.Size() != 0 {
		t.Errorf("the output has %d bytes, %v", st.Size(), err)
	}
	why := errors.New("stop")
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("ended with %v", err)
	}
}
