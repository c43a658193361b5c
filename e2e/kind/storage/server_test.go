package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn makes this test's binary serve as the gateway would, told by the same
// arguments and environment.
const standIn = "STORAGE_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if how := os.Getenv(standIn); how != "" && len(os.Args) > 2 && os.Args[1] == "--port" {
		serve(how, os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func serve(how, address string) {
	fmt.Fprintln(os.Stderr, "starting")
	if how == "broken" {
		fmt.Fprintln(os.Stderr, "no space left")
		os.Exit(1)
	}
	http.HandleFunc(healthPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getenv("ROOT_ACCESS_KEY_ID"), " ", os.Getenv("ROOT_SECRET_ACCESS_KEY"))
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, nil))
}

func startStandIn(t *testing.T, dir string) *Server {
	t.Helper()
	t.Setenv(standIn, "works")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Options{Dir: dir, Host: "127.0.0.1", Binary: self, Buckets: []string{"state", "out"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestTheServerIsFoundAgainInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	first := startStandIn(t, dir)
	if first.Credentials() == (Credentials{}) || len(first.Credentials().SecretKey) < 32 {
		t.Errorf("credentials: %+v", first.Credentials())
	}
	for _, bucket := range []string{"state", "out"} {
		if st, err := os.Stat(filepath.Join(dir, "data", bucket)); err != nil || !st.IsDir() {
			t.Errorf("bucket %s: %v", bucket, err)
		}
	}
	second := startStandIn(t, dir)
	if first.state != second.state {
		t.Errorf("a running server was not taken as it is: %+v, then %+v", first.state, second.state)
	}
	attached, err := Attach(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := attached.Stop(t.Context()); err != nil || first.state.Process.alive() {
		t.Errorf("stopped by another: %v, alive=%t", err, first.state.Process.alive())
	}
	third := startStandIn(t, dir)
	if third.Endpoint() != first.Endpoint() || third.Credentials() != first.Credentials() {
		t.Error("a server that came back has another address or other credentials")
	}
	if st, err := os.Stat(stateFile(dir)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file with the secret key: %v, %v", st.Mode(), err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir, Host: "127.0.0.2"}); err == nil || !strings.Contains(err.Error(), first.state.Address) {
		t.Errorf("a move to another address: %v", err)
	}
}

func TestWorldsDoNotShareCredentials(t *testing.T) {
	a, b := startStandIn(t, t.TempDir()), startStandIn(t, t.TempDir())
	if a.Credentials().AccessKey == b.Credentials().AccessKey || a.Credentials().SecretKey == b.Credentials().SecretKey {
		t.Error("two servers have one key")
	}
}

func TestNothingIsThereToAttachTo(t *testing.T) {
	if _, err := Attach(t.TempDir(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableRefusesAndReachableAnswers(t *testing.T) {
	s := startStandIn(t, t.TempDir())
	for range 2 { // twice is as once
		if err := s.Unreachable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := net.Dial("tcp", s.state.Address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connected to %v, %v; want it refused", conn, err)
	}
	if err := s.Pause(t.Context()); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("pause of none: %v", err)
	}
	for range 2 {
		if err := s.Reachable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.answers(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAPausedServerConnectsAndDoesNotAnswer(t *testing.T) {
	s := startStandIn(t, t.TempDir())
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !s.state.Process.alive() {
		t.Error("a paused process does not count as alive")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("paused: %v", err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := s.answers(t.Context()); err != nil {
		t.Errorf("resumed: %v", err)
	}
	for range 2 { // one that a killed run left paused is taken up again
		if err := s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Reachable(t.Context()); err != nil {
			t.Errorf("reachable while paused: %v", err)
		}
	}
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil || s.state.Process.alive() {
		t.Errorf("stop while paused: %v", err)
	}
}

func TestAServerThatEndsSaysItsLastWords(t *testing.T) {
	t.Setenv(standIn, "broken")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Options{Dir: t.TempDir(), Host: "127.0.0.1", Binary: self})
	if err == nil || !strings.HasSuffix(err.Error(), "it ended: no space left") {
		t.Errorf("got %v", err)
	}
}

func TestAnotherProcessOfThatNumberIsLeftAlone(t *testing.T) {
	p := process{PID: os.Getpid(), Start: "1"}
	if p.alive() {
		t.Error("taken for this one")
	}
	if err := p.signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v", err)
	}
	if (process{}).alive() {
		t.Error("none is alive")
	}
}

func put(t *testing.T, s *Server, key, content string, at int64) {
	t.Helper()
	file := filepath.Join(s.dir, "data", key)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestOnlySnapshotsWithMetadataCount(t *testing.T) {
	s := &Server{dir: t.TempDir()}
	put(t, s, "state/job/t1/r1/checkpoints/aa/chk-9/_metadata", "m", 30)
	put(t, s, "state/job/t1/r1/checkpoints/aa/chk-10/_metadata", "m", 40)
	put(t, s, "state/job/t1/r1/checkpoints/aa/chk-11/part", "not complete", 50)
	put(t, s, "state/job/t1/r1/checkpoints/aa/shared/x", "state", 50)
	put(t, s, "state/job/t1/r2/checkpoints/bb/chk-2/_metadata", "m", 60)
	put(t, s, "state/job/savepoints/savepoint-aa-1/_metadata", "m", 20)
	uris := func(list []Snapshot, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, n := range list {
			got = append(got, strings.TrimPrefix(n.URI, "s3://state/job/"))
		}
		return got
	}
	if got, want := uris(s.Checkpoints("s3://state/job/t1/r1")), []string{"t1/r1/checkpoints/aa/chk-9", "t1/r1/checkpoints/aa/chk-10"}; !slices.Equal(got, want) {
		t.Errorf("of one run: %v, want %v", got, want)
	}
	want := []string{"savepoints/savepoint-aa-1", "t1/r1/checkpoints/aa/chk-9", "t1/r1/checkpoints/aa/chk-10", "t1/r2/checkpoints/bb/chk-2"}
	if got := uris(s.Snapshots("s3a://state/job/")); len(got) != 4 {
		t.Errorf("with the other scheme: %v", got)
	}
	if got := uris(s.Snapshots("s3://state/job/")); !slices.Equal(got, want) {
		t.Errorf("of the job: %v, want %v", got, want)
	}
	if got := uris(s.Snapshots("s3://state/job/t1/r1/checkpoints/aa/chk-9")); !slices.Equal(got, want[1:2]) {
		t.Errorf("the snapshot itself: %v", got)
	}
	if got := uris(s.Snapshots("s3://state/other")); len(got) != 0 {
		t.Errorf("of no job: %v", got)
	}
	for _, uri := range []string{"file:///etc", "s3://", "s3:///x", "s3://../../etc", "s3://state/../../../etc", "chk-1", "::"} {
		if list, err := s.Snapshots(uri); err == nil {
			t.Errorf("%q: got %v", uri, list)
		}
	}
}

func TestTheLedgerReadsCommittedFilesOnly(t *testing.T) {
	s := &Server{dir: t.TempDir()}
	put(t, s, "out/ledger/2026/part-0-0", "0,0,0\n1,0,1\n0,1,2\n", 1)
	put(t, s, "out/ledger/2026/.part-0-1.inprogress", "1,1,3\n", 1)
	r, err := s.Ledger("s3://out/ledger", 2)
	if err != nil || r.Err() != nil || r.Rows != 3 {
		t.Errorf("got %v, %v, %v", r, err, r.Err())
	}
}

func TestSettingsAreThoseThatFlinkNeeds(t *testing.T) {
	s := &Server{state: state{Address: "10.0.0.1:7070"}}
	got := s.Settings()
	if got["s3.endpoint"] != "http://10.0.0.1:7070" || got["s3.path.style.access"] != "true" || got["s3.directory.marker.retention"] != "keep" {
		t.Errorf("got %v", got)
	}
}
