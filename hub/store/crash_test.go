package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
)

// A copy of the files taken before any step of a commit, a checkpoint or a status flush is what a kill there leaves.
func TestAKillBetweenAnyTwoStepsLosesNothing(t *testing.T) {
	dir := t.TempDir()
	type left struct {
		dir, step string
		head      Revision // answered by then
		status    string
	}
	var mu sync.Mutex
	var copies []left
	head, status := Revision(0), ""
	snapshot := func(step string) {
		mu.Lock()
		defer mu.Unlock()
		to := t.TempDir()
		copyFiles(t, dir, to)
		copies = append(copies, left{to, step, head, status})
	}
	s := start(t, Options{Dir: dir, Init: true, faults: faults{step: snapshot}})
	views := map[Revision]map[string]any{0: everything(s.View())}
	for g := int32(1); g <= 4; g++ {
		for _, uid := range []string{"j1", "j2"} {
			rev := s.write(t, func(txn *Txn) {
				if g == 3 && uid == "j1" {
					dropJob(txn, "c1", "j1")
				} else {
					putJob(txn, "c1", uid, "job-"+uid, g)
				}
			})
			mu.Lock()
			head = rev
			mu.Unlock()
			views[rev] = everything(s.View())
		}
		if err := s.PutStatuses(t.Context(), "c1", []StatusRow{{JobUID: "j2", Status: statusOf(g)}}, true); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		status = statusOf(g).Message
		mu.Unlock()
		if g%2 == 0 {
			if err := s.checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.stop(t)
	seen := map[string]int{}
	for _, c := range copies {
		seen[c.step]++
		r := mustOpen(t, Options{Dir: c.dir})
		got := r.View().Head()
		if got < c.head || got > c.head+1 {
			t.Errorf("before %q: head %d, answered %d", c.step, got, c.head)
		}
		if diff := gocmp.Diff(views[got], everything(r.View())); diff != "" {
			t.Errorf("before %q at %d (-before +after):\n%s", c.step, got, diff)
		}
		tail, err := r.AuditTail(100)
		if err != nil || len(tail) != int(got) {
			t.Errorf("before %q: %d audit records of %d, %v", c.step, len(tail), got, err)
		}
		if st, ok := r.Status("j2"); c.status != "" && (!ok || st.Status.Message < c.status) {
			t.Errorf("before %q: status %q, answered %q", c.step, st.Status.Message, c.status)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []string{"commit", "write statuses", "checkpoint read", "checkpoint moved", "checkpoint trimmed"} {
		if seen[step] == 0 {
			t.Errorf("no kill before %q was tried", step)
		}
	}
}

// statusOf is a status whose message grows with n.
func statusOf(n int32) flink.Status { return flink.Status{Term: 1, Message: fmt.Sprintf("%09d", n)} }

const childDir = "WATERWHEEL_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child writes until it is killed and prints each write that was answered, and each durable status.
func child(dir string) {
	ctx := context.Background() //nolint:forbidigo // a process of its own, which is killed
	s, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	go func() { fmt.Println("error", s.Run(ctx)) }()
	go func() {
		for { // checkpoints without pause, beside the writes
			s.full <- struct{}{}
		}
	}()
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				uid := fmt.Sprintf("w%d-%d", w, i%20)
				rev, err := s.Write(ctx, who, func(txn *Txn) error {
					putJob(txn, "c1", uid, uid, int32(txn.Revision()))
					return nil
				})
				fmt.Println("ack", rev, uid, err)
				if err := s.PutStatuses(ctx, "c1", []StatusRow{{JobUID: uid, Status: statusOf(int32(rev))}}, i%5 == 0); i%5 == 0 {
					fmt.Println("status", rev, uid, err)
				}
			}
		}()
	}
	select {}
}

func TestEveryAnswerSurvivesAKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	_ = mustOpen(t, Options{Dir: dir, Init: true}).Close()
	acks := 0
	for round := range rounds {
		acked, statuses := killed(t, dir, 40+25*round)
		acks += len(acked)
		s := mustOpen(t, Options{Dir: dir})
		for uid, rev := range acked {
			if j, ok := s.View().Job(uid); !ok || j.Revision < rev || Revision(j.Generation) != j.Revision {
				t.Errorf("round %d: %s is at %d (%v), answered at %d", round, uid, j.Revision, ok, rev)
			}
			if o, ok := s.View().Order("c1", uid); !ok || o.Version.Revision < rev {
				t.Errorf("round %d: the order of %s is at %d, answered at %d", round, uid, o.Version.Revision, rev)
			}
		}
		for uid, rev := range statuses {
			if r, ok := s.Status(uid); !ok || r.Status.Message < statusOf(int32(rev)).Message {
				t.Errorf("round %d: status of %s is %q, answered for %d", round, uid, r.Status.Message, rev)
			}
		}
		if _, err := s.AuditTail(1 << 20); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("kills=%d jobs checked=%d", rounds, acks)
}

// killed runs a child until it printed so many lines, kills it, and gives the newest answered revision of each job.
func killed(t *testing.T, dir string, lines int) (acked, statuses map[string]Revision) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	acked, statuses = map[string]Revision{}, map[string]Revision{}
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		f := strings.Fields(scan.Text())
		if len(f) != 4 || f[3] != "<nil>" {
			t.Errorf("child: %s", scan.Text())
			break
		}
		rev, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		into := map[string]map[string]Revision{"ack": acked, "status": statuses}[f[0]]
		into[f[2]] = max(into[f[2]], Revision(rev))
		if n == lines {
			_ = cmd.Process.Kill() // and go on reading what it had printed by then
		}
	}
	_ = cmd.Wait() // "signal: killed", as meant
	if len(acked) == 0 {
		t.Fatal("the child answered nothing")
	}
	return acked, statuses
}
