package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/dev/relay"
)

// stage is a world of stand-ins in a directory of its own.
type stage struct {
	t   *testing.T
	d   dev
	out *bytes.Buffer
}

func newStage(t *testing.T) *stage {
	t.Helper()
	root := must(resolve(t.TempDir()))
	self := must(os.Executable())
	bin := binaries{cli: filepath.Join(root, "bin", "waterwheel"), hubPath: filepath.Join(root, "bin", "waterwheel-hub"), agentPath: filepath.Join(root, "bin", "waterwheel-agent")}
	flink := filepath.Join(root, "flink")
	for _, dir := range []string{filepath.Dir(bin.cli), filepath.Join(flink, "lib"), filepath.Join(root, "java", "bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{bin.cli, bin.hubPath, bin.agentPath} {
		if err := os.Link(self, path); err != nil {
			if raw := must(os.ReadFile(self)); os.WriteFile(path, raw, 0o755) != nil { // another file system
				t.Fatal(err)
			}
		}
	}
	java := "#!/bin/sh\necho '    java.home = " + root + "/java' >&2\necho '    java.specification.version = 17' >&2\n"
	for path, text := range map[string]string{filepath.Join(flink, "lib", "flink-dist-2.3.0.jar"): "jar", filepath.Join(root, "java", "bin", "java"): java} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FLINK_HOME", flink)
	t.Setenv("PATH", "") // nothing can be fetched
	t.Setenv("JAVA_HOME", filepath.Join(root, "java"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	s := &stage{t: t, out: &bytes.Buffer{}}
	s.d = dev{at: layout(filepath.Join(root, "world")), bin: bin, out: s.out}
	t.Cleanup(func() {
		for _, f := range must(findProcesses(string(s.d.at))) {
			_ = f.signal(string(s.d.at), syscall.SIGKILL)
		}
		if t.Failed() {
			for _, path := range must(filepath.Glob(s.d.at.path("logs", "*"))) {
				t.Logf("%s:\n%s", path, must(os.ReadFile(path)))
			}
			t.Logf("printed:\n%s", s.out)
		}
	})
	return s
}

func (s *stage) up(o upOptions) {
	s.t.Helper()
	if err := s.d.up(s.t.Context(), o); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) status() worldStatus {
	s.t.Helper()
	st, err := s.d.status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *stage) pids() map[string]int {
	pids := map[string]int{}
	for _, f := range must(findProcesses(string(s.d.at))) {
		pids[f.name] = f.pid
	}
	return pids
}

// until waits for what processes do.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return ok(), nil }); err != nil {
		s.t.Fatalf("not within two minutes: %s", what)
	}
}

func (s *stage) kill(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

func TestAWorldComesUpIsKeptUpAndGoesDown(t *testing.T) {
	s := newStage(t)
	s.up(upOptions{clusters: 2, flink: []string{"2.3"}})
	first := s.pids()
	if len(first) != 4 || first[supervisorName] == 0 || first[hubName] == 0 || first["agent-dev-1"] == 0 || first["agent-dev-2"] == 0 {
		t.Fatalf("processes %v", first)
	}

	t.Run("a second up leaves all as it is", func(t *testing.T) {
		s.up(upOptions{clusters: 2})
		if now := s.pids(); !mapsEqual(first, now) {
			t.Errorf("before %v, after %v", first, now)
		}
	})
	t.Run("a world grows", func(t *testing.T) {
		s.up(upOptions{clusters: 3})
		now := s.pids()
		if now["agent-dev-3"] == 0 || now["agent-dev-1"] != first["agent-dev-1"] {
			t.Errorf("processes %v", now)
		}
	})
	t.Run("an agent that is killed comes back", func(*testing.T) {
		old := s.pids()["agent-dev-2"]
		s.kill(old)
		s.until("the agent is back", func() bool { pid := s.pids()["agent-dev-2"]; return pid != 0 && pid != old })
		s.until("its return is told", func() bool {
			c := s.status().Clusters[1].Agent
			return c.State == ProcessRunning && c.Restarts == 1 && c.PID != old
		})
	})
	t.Run("status tells processes, relays and each agent's own view", func(t *testing.T) {
		var st worldStatus
		s.until("views are there", func() bool {
			st = s.status()
			return st.Hub.Ready && !slices.ContainsFunc(st.Clusters, func(c clusterView) bool { return c.View == nil })
		})
		if st.Supervisor == nil || st.Hub.State != ProcessRunning || len(st.Clusters) != 3 || st.Clusters[0].Relay.State != relay.Open {
			t.Errorf("got %+v", st)
		}
		if v := st.Clusters[0].View; v == nil || len(v.Jobs) != 1 || v.Jobs[0].Status.Run != 4 || v.MemoryUsed != 1<<30 {
			t.Errorf("view %+v", v)
		}
		var table bytes.Buffer
		if err := st.print(&table, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"agent-dev-3", "1.0Gi of 8.0Gi", "default/clicks", "3/3"} {
			if !strings.Contains(table.String(), want) {
				t.Errorf("no %q in\n%s", want, &table)
			}
		}
	})
	t.Run("a cut outlives the supervisor, and so do the processes", func(t *testing.T) {
		cut := relayRequest{Cluster: "dev-1", State: relay.Cut}
		if err := s.d.at.control(t.Context(), http.MethodPost, "/relay", cut, nil); err != nil {
			t.Fatal(err)
		}
		before := s.pids()
		s.kill(before[supervisorName])
		s.until("the supervisor is gone", func() bool { return s.pids()[supervisorName] == 0 })
		if st := s.status(); st.Supervisor != nil || st.Hub.State != ProcessRunning {
			t.Errorf("got %+v", st)
		}
		s.up(upOptions{clusters: 3})
		now := s.pids()
		if now[supervisorName] == before[supervisorName] {
			t.Errorf("the same supervisor %v", now)
		}
		delete(before, supervisorName)
		delete(now, supervisorName)
		if !mapsEqual(before, now) {
			t.Errorf("before %v, after %v", before, now)
		}
		if st := s.status(); st.Clusters[0].Relay.State != relay.Cut || st.Clusters[1].Relay.State != relay.Open {
			t.Errorf("relays %+v", st.Clusters)
		}
	})
	t.Run("an adopted process that is killed comes back too", func(*testing.T) {
		old := s.pids()[hubName]
		s.kill(old)
		s.until("the hub is back", func() bool { pid := s.pids()[hubName]; return pid != 0 && pid != old })
	})
	t.Run("a wrong name is told with the right ones", func(t *testing.T) {
		err := s.d.at.control(t.Context(), http.MethodPost, "/relay", relayRequest{Cluster: "dev-9", State: relay.Cut}, nil)
		if err == nil || !strings.Contains(err.Error(), "dev-1, dev-2, dev-3") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("what is not to be restarted stays down", func(t *testing.T) {
		s.up(upOptions{clusters: 3, noRestart: []string{"dev-3"}})
		s.kill(s.pids()["agent-dev-3"])
		s.until("it is stopped", func() bool { return s.status().Clusters[2].Agent.State == ProcessStopped })
		if pid := s.pids()["agent-dev-3"]; pid != 0 {
			t.Errorf("pid %d", pid)
		}
		s.up(upOptions{})
		s.until("the next up brings it back", func() bool { return s.pids()["agent-dev-3"] != 0 })
	})
	t.Run("down leaves no process, up brings the world back, purge leaves no file", func(t *testing.T) {
		ports := must2(s.d.at.load())
		if err := s.d.down(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if left := s.pids(); len(left) != 0 {
			t.Errorf("left %v", left)
		}
		for _, c := range []string{"dev-1", "dev-2", "dev-3"} {
			if !isFile(s.d.at.path("agents", c, "runs-ended")) {
				t.Errorf("runs of %s were not ended", c)
			}
		}
		s.up(upOptions{})
		if again := must2(s.d.at.load()); len(again.Clusters) != 3 || again.Clusters[0] != ports.Clusters[0] || again.Hub != ports.Hub {
			t.Errorf("ports before %+v, after %+v", ports, again)
		}
		if err := s.d.down(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(string(s.d.at)); !os.IsNotExist(err) || len(s.pids()) != 0 {
			t.Errorf("left %v, %v", err, s.pids())
		}
		if err := s.d.down(t.Context(), false); err == nil {
			t.Error("a world that is not there was taken down")
		}
	})
}

func must2[A, B any](a A, _ B, _ error) A { return a }

func mapsEqual(a, b map[string]int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func TestASecondSupervisorEndsAtOnce(t *testing.T) {
	at := layout(must(resolve(t.TempDir())))
	if err := at.save(world{}); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(at.lockFile(supervisorName))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := supervise(t.Context(), at, binaries{}, nil); err == nil || !strings.Contains(err.Error(), errLocked.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestASupervisorThatWasKilledMayTakeAMomentToGo(t *testing.T) {
	s := newStage(t)
	if err := os.MkdirAll(string(s.d.at), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(s.d.at.lockFile(supervisorName))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.d.up(t.Context(), upOptions{clusters: 1}) }()
	select {
	case err := <-ended:
		t.Fatalf("it ended while the last supervisor had not let go: %v", err)
	case <-time.After(2 * time.Second):
	}
	unlock()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := s.d.down(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

func TestLogsAreBoundedAndTheirEndIsKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hub.log")
	if err := os.WriteFile(path, []byte(strings.Repeat("a", 500)+strings.Repeat("b", 600)), 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := trimOnce(dir, 1000); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(writer, "next")
	if now := string(must(os.ReadFile(path))); now != "next" {
		t.Errorf("the log holds %q", now)
	}
	if old := string(must(os.ReadFile(path + ".1"))); len(old) != 1000 || !strings.HasSuffix(old, "bbb") || !strings.HasPrefix(old, "aaa") {
		t.Errorf("the older log has %d bytes", len(old))
	}
	if err := trimOnce(dir, 1000); err != nil {
		t.Fatal(err)
	}
	if now := string(must(os.ReadFile(path))); now != "next" {
		t.Errorf("a short log became %q", now)
	}
}

func TestADirectoryHasOneNameBeforeAndAfterItIsMade(t *testing.T) {
	root := must(resolve(t.TempDir()))
	if err := os.Mkdir(filepath.Join(root, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "link", "a", "b")
	before := must(resolve(dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if after := must(resolve(dir)); before != after || before != filepath.Join(root, "real", "a", "b") {
		t.Errorf("before %s, after %s", before, after)
	}
}

func TestFlagsAreCheckedBeforeAnythingHappens(t *testing.T) {
	for _, args := range [][]string{{"up", "--clusters", "-1"}, {"status", "-o", "yaml"}, {"cut"}, {"heal", "a", "b"}, {"up", "x"}, {"nope"}} {
		c := Command()
		c.SetArgs(append(args, "--dir", t.TempDir()))
		c.SetOut(&bytes.Buffer{})
		c.SetErr(&bytes.Buffer{})
		if err := c.Execute(); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

func TestAnAgentGetsATokenUntilItJoinedAndOnceItsCertificateEnded(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		cluster hubCluster
		want    bool
	}{
		"unknown":                           {hubCluster{}, true},
		"invited":                           {hubCluster{State: "invited"}, true},
		"removed":                           {hubCluster{State: "removed", CertEnds: now.Add(time.Hour)}, true},
		"joined, certificate good":          {hubCluster{State: "joined", CertEnds: now.Add(time.Second)}, false},
		"joined, certificate ended":         {hubCluster{State: "joined", CertEnds: now}, true},
		"connected, renewed just now":       {hubCluster{State: "joined", CertEnds: now.Add(-time.Second), Connected: true}, false},
		"joined, certificate not on record": {hubCluster{State: "joined"}, false},
	} {
		if got := c.cluster.needsToken(now); got != c.want {
			t.Errorf("%s: needs a token: %t, want %t", name, got, c.want)
		}
	}
}

func TestAMemoryThatNoAgentCouldReadIsRefusedBeforeAnythingIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "world")
	c := Command()
	c.SetArgs([]string{"up", "--memory", "lots", "--dir", dir})
	c.SetOut(&bytes.Buffer{})
	c.SetErr(&bytes.Buffer{})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "--memory") {
		t.Errorf("got %v, want it to name the flag", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a world was begun")
	}
}

func TestWhatAProcessSaidLastIsInTheErrorThatItDidNotComeUp(t *testing.T) {
	log := filepath.Join(t.TempDir(), "hub.log")
	if err := os.WriteFile(log, []byte("starting\nerror: listening for agents: address already in use\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	late := errors.New("not ready within 1m")
	err := withLastLine(late, log)
	if !errors.Is(err, late) || !strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), "starting") {
		t.Errorf("got %v", err)
	}
	if err := withLastLine(late, log+".none"); !errors.Is(err, late) || err.Error() != late.Error() {
		t.Errorf("without a log: %v", err)
	}
	if err := withLastLine(nil, log); err != nil {
		t.Errorf("without an error: %v", err)
	}
}
