package engine

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheDaemonTouchesNothingOutsideItsState(t *testing.T) {
	t.Parallel()
	b, err := daemonConfig("/state", "/state/wrapper")
	if err != nil {
		t.Fatal(err)
	}
	var conf map[string]any
	if err := json.Unmarshal(b, &conf); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"data-root", "exec-root", "pidfile"} {
		if path, _ := conf[key].(string); !strings.HasPrefix(path, "/state/") {
			t.Errorf("%s is %q", key, path)
		}
	}
	if conf["bridge"] != "none" || conf["oom-score-adjust"] != 0.0 || conf["default-runtime"] != "narrow" {
		t.Errorf("configuration %s", b)
	}
	plain, err := daemonConfig("/state", "")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(plain), "runtime") {
		t.Errorf("a runtime where the machine's own will do: %s", plain)
	}
}

func TestAWithheldCapabilityIsSeenInTheBoundingSet(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]bool{"000001ffffffffff": true, "000001fffeffffff": false, "0000000001000000": true} {
		got, err := hasCapability("Name:\tx\nCapEff:\t0\nCapBnd:\t"+set+"\nCapAmb:\t0\n", unix.CAP_SYS_RESOURCE)
		if err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", set, got, err, want)
		}
	}
	for _, broken := range []string{"", "CapBnd:\tzz\n"} {
		if _, err := hasCapability(broken, unix.CAP_SYS_RESOURCE); err == nil {
			t.Errorf("%q: no error", broken)
		}
	}
}

func TestMountsBelowADirectoryAreFoundOuterFirst(t *testing.T) {
	t.Parallel()
	info := `1 0 0:1 / / rw - ext4 a rw
2 1 0:2 / /state/data/x rw - overlay o rw
3 2 0:3 / /state/data/x/with\040blank rw - tmpfs t rw
4 1 0:4 / /state-other rw - tmpfs t rw
`
	want := []string{"/state/data/x", "/state/data/x/with blank"}
	if got := mountsBelow([]byte(info), "/state/"); !slices.Equal(got, want) {
		t.Errorf("mounts %q, want %q", got, want)
	}
}

func TestAPidFileOfBeforeARebootNamesNobody(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	if pid, err := daemonPID(state); pid != 0 || err != nil {
		t.Errorf("no file: %d, %v", pid, err)
	}
	// this process lives and is no daemon of that state
	if err := os.WriteFile(filepath.Join(state, pidName), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if pid, err := daemonPID(state); pid != 0 || err != nil {
		t.Errorf("another process: %d, %v", pid, err)
	}
	for _, text := range []string{strconv.Itoa(os.Getpid()), ""} { // or half written
		if err := os.WriteFile(filepath.Join(state, pidName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if answers, err := new(Engine).inherit(t.Context(), Options{State: state}, time.Hour); answers || err != nil {
			t.Fatalf("answers %t, %v", answers, err)
		}
		if _, err := os.Stat(filepath.Join(state, pidName)); !os.IsNotExist(err) {
			t.Errorf("the stale file is still there: %v", err)
		}
	}
}

func TestADaemonThatDoesNotAnswerIsEnded(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	hangs := exec.CommandContext(t.Context(), "sh", "-c", "read forever", "dockerd", filepath.Join(state, configName))
	in, err := hangs.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := hangs.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hangs.Wait() }()
	if err := os.WriteFile(filepath.Join(state, pidName), []byte(strconv.Itoa(hangs.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + filepath.Join(state, socketName), Own: true}
	if answers, err := e.inherit(t.Context(), Options{State: state}, 0); answers || err != nil {
		t.Errorf("answers %t, %v", answers, err)
	}
	select {
	case <-ended:
	default:
		if pid, err := daemonPID(state); pid != 0 || err != nil {
			t.Errorf("it is not ended: pid %d, %v", pid, err)
		}
	}
}

func TestOnlyOneStartsOrStopsAnEngine(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	unlock, err := lockState(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := lockState(short, state); err == nil {
		t.Fatal("two have the lock")
	}
	unlock()
	again, err := lockState(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestStoppingWhatIsNotThereIsNothing(t *testing.T) {
	t.Parallel()
	found, err := Stop(t.Context(), Options{State: filepath.Join(t.TempDir(), "none")})
	if found || err != nil {
		t.Errorf("found %t, error %v", found, err)
	}
}
