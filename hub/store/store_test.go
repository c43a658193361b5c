package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
)

var who = Audit{Who: "admin/test", Verb: "test"}

// testing.T and B, and what a rapid test has.
type tester interface {
	Helper()
	Fatalf(string, ...any)
}

func mustOpen(t tester, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open %s: %v", o.Dir, err)
	}
	return s
}

// running is a store with its Run under way.
type running struct {
	*Store
	cancel context.CancelFunc
	ended  chan error
}

func start(t tester, o Options) *running {
	t.Helper()
	r := &running{Store: mustOpen(t, o), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- r.Run(ctx) }()
	return r
}

// stop ends Run and closes the files.
func (r *running) stop(t tester) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Fatalf("run: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func (r *running) write(t tester, fn func(*Txn)) Revision {
	t.Helper()
	rev, err := r.Write(context.Background(), who, func(txn *Txn) error { fn(txn); return nil })
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return rev
}

func putJob(txn *Txn, cluster, uid, name string, generation int32) {
	spec := flink.Spec{Cluster: cluster, Parallelism: generation}
	txn.PutJob(Job{Job: flink.Job{UID: uid, Tenant: "default", Name: name, Generation: generation, Spec: spec, UpdatedAt: txn.Now()}})
	txn.PutAssignment(flink.Assignment{JobUID: uid, ClusterUID: cluster, Term: 1})
	txn.PutOrder(FeedRow{ClusterUID: cluster, UID: uid, Generation: generation, Term: 1, Body: fmt.Appendf(nil, "%s generation %d", uid, generation)})
}

func dropJob(txn *Txn, cluster, uid string) {
	txn.DropOrder(cluster, uid)
	txn.DeleteAssignment(uid)
	txn.DeleteJob(uid)
}

func uids(rows []FeedRow) (out []string) {
	for _, r := range rows {
		out = append(out, r.UID)
	}
	return out
}

func TestEveryKindOfRowIsThereAgainAfterReopen(t *testing.T) {
	for _, checkpointed := range []bool{false, true} {
		dir := t.TempDir()
		s := start(t, Options{Dir: dir, Init: true, MAC: func(r FeedRow) []byte { return append([]byte("mac of "), r.Hash...) }})
		at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		s.write(t, func(txn *Txn) {
			txn.PutTenant(Tenant{Name: "default"})
			txn.PutCluster(Cluster{UID: "c1", Name: "eu-1", State: ClusterJoined, CreatedAt: at, CertNotAfter: at})
			txn.PutCluster(Cluster{UID: "c0", Name: "us-1", State: ClusterRemoved})
			txn.PutToken(Token{Hash: "h1", ClusterUID: "c1", CreatedAt: at, Chain: [][]byte{{1, 2}, {3}}})
			txn.PutToken(Token{Hash: "h2", ClusterUID: "c1"})
		})
		rev := s.write(t, func(txn *Txn) {
			putJob(txn, "c1", "j1", "clicks", 1)
			putJob(txn, "c1", "j2", "orders", 1)
			txn.DeleteToken("h2")
		})
		want := everything(s.View())
		if order, _ := s.View().Order("c1", "j1"); order.Version != (Version{s.View().Epoch().Number, rev}) ||
			len(order.Hash) != 32 || !strings.HasPrefix(string(order.MAC), "mac of ") {
			t.Errorf("an order's version, hash, mac are not those of its write: %+v", order)
		}
		if checkpointed {
			if err := s.checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.stop(t)
		s = start(t, Options{Dir: dir})
		if diff := cmp.Diff(want, everything(s.View())); diff != "" {
			t.Errorf("checkpointed=%v: after reopen (-before +after):\n%s", checkpointed, diff)
		}
		rows, upTo, more := s.Feed("c1", 0, 1<<20, false)
		if !slices.Equal(uids(rows), []string{"j1", "j2"}) || upTo != rev || more {
			t.Errorf("feed after reopen: %v up to %d more=%v", uids(rows), upTo, more)
		}
		s.stop(t)
	}
}

// everything a view can tell.
func everything(v View) map[string]any {
	m := map[string]any{
		"head": v.Head(), "tenants": v.Tenants(), "clusters": v.Clusters(), "tokens": v.TokensOf("c1"),
		"jobs": v.Jobs("default", "", 0), "held": v.JobsOf("c1"),
	}
	for _, c := range v.Clusters() {
		byName, ok := v.ClusterByName(c.Name)
		m["cluster "+c.Name] = []any{byName, ok}
	}
	for _, uid := range v.JobsOf("c1") {
		a, _ := v.Assignment(uid)
		o, _ := v.Order("c1", uid)
		m["job "+uid] = []any{a, o, string(o.Body)}
	}
	return m
}

func TestNamesAreFoundMovedAndGivenUp(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	s.write(t, func(txn *Txn) {
		for _, name := range []string{"d", "b", "a", "c", "bb"} {
			putJob(txn, "c1", "uid-"+name, name, 1)
		}
		txn.PutJob(Job{Job: flink.Job{UID: "uid-x", Tenant: "default2", Name: "aa"}})
		txn.PutCluster(Cluster{UID: "c1", Name: "eu-1", State: ClusterJoined})
	})
	names := func(after string, limit int) (out []string) {
		for _, j := range s.View().Jobs("default", after, limit) {
			out = append(out, j.Name)
		}
		return out
	}
	for _, c := range []struct {
		after string
		limit int
		want  string
	}{{"", 0, "a b bb c d"}, {"", 2, "a b"}, {"b", 2, "bb c"}, {"ba", 0, "bb c d"}, {"d", 5, ""}} {
		if got := strings.Join(names(c.after, c.limit), " "); got != c.want {
			t.Errorf("jobs after %q limit %d: %q, want %q", c.after, c.limit, got, c.want)
		}
	}
	s.write(t, func(txn *Txn) {
		txn.PutCluster(Cluster{UID: "c1", Name: "eu-1", State: ClusterRemoved})
		txn.PutCluster(Cluster{UID: "c2", Name: "eu-1", State: ClusterInvited})
		dropJob(txn, "c1", "uid-a")
		putJob(txn, "c1", "uid-a2", "a", 1)
	})
	if c, ok := s.View().ClusterByName("eu-1"); !ok || c.UID != "c2" {
		t.Errorf("eu-1 is %+v, want the cluster that has the name now", c)
	}
	if j, ok := s.View().JobByName("default", "a"); !ok || j.UID != "uid-a2" {
		t.Errorf("job a is %+v, want the new one", j)
	}
	s.write(t, func(txn *Txn) { txn.PutCluster(Cluster{UID: "c1", Name: "eu-1", State: ClusterRemoved, Banned: true}) })
	if c, ok := s.View().ClusterByName("eu-1"); !ok || c.UID != "c2" {
		t.Errorf("writing a removed cluster took the name from its successor: %+v", c)
	}
}

func TestAnErrorOfOneWriteAbortsThatWriteAlone(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	before := s.View()
	wrong := errors.New("wrong")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_, err := s.Write(context.Background(), who, func(txn *Txn) error {
				// More rows than one memdb transaction takes: what was committed to the pending state goes too.
				for k := range maxMemdbRows + 10 {
					txn.PutTenant(Tenant{Name: fmt.Sprintf("t%d-%d", i, k)})
				}
				if i%2 == 1 {
					return wrong
				}
				return nil
			})
			if (i%2 == 1) != errors.Is(err, wrong) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	v := s.View()
	if got, want := len(v.Tenants()), 25*(maxMemdbRows+10); got != want || v.Head() != 25 {
		t.Errorf("%d rows at revision %d, want %d at 25", got, v.Head(), want)
	}
	if len(before.Tenants()) != 0 || before.Head() != 0 {
		t.Error("a view changed")
	}
}

func TestAWriteThatPutsNothingTakesNoRevision(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	first := s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
	again := s.write(t, func(txn *Txn) { txn.DeleteToken("unknown"); txn.DropOrder("c1", "unknown") })
	tail, err := s.AuditTail(10)
	if first != 1 || again != 1 || err != nil || len(tail) != 1 {
		t.Errorf("revisions %d, %d, audit %v, %v", first, again, tail, err)
	}
}

func TestAWriteNeedsAnAuditRecord(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	if _, err := s.Write(t.Context(), Audit{Verb: "x"}, func(*Txn) error { return nil }); err == nil {
		t.Error("a write without who was taken")
	}
}

func TestOrdersOfOneWriteFitOneFrame(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	put := func(clusters ...string) error {
		_, err := s.Write(t.Context(), who, func(txn *Txn) error {
			for i, c := range clusters {
				txn.PutOrder(FeedRow{ClusterUID: c, UID: fmt.Sprint(i), Body: make([]byte, 256<<10)})
			}
			return nil
		})
		return err
	}
	if err := put("c1", "c1"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("512 KiB for one cluster: %v", err)
	}
	if err := put("c1", "c2"); err != nil {
		t.Errorf("256 KiB for each of two clusters: %v", err)
	}
}

func TestTooLittleSpaceRefusesWritesAndServesReads(t *testing.T) {
	free := uint64(1 << 40)
	var mu sync.Mutex
	set := func(n uint64) { mu.Lock(); defer mu.Unlock(); free = n }
	s := start(t, Options{Dir: t.TempDir(), Init: true, faults: faults{free: func(string) (uint64, error) {
		mu.Lock()
		defer mu.Unlock()
		return free, nil
	}}})
	defer s.stop(t)
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 1) })
	set(1 << 20)
	_, err := s.Write(t.Context(), who, func(txn *Txn) error { txn.PutTenant(Tenant{Name: "x"}); return nil })
	if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrUnknown) {
		t.Errorf("write with 1 MiB free: %v", err)
	}
	if err := s.PutStatuses(t.Context(), "c1", []StatusRow{{JobUID: "j1"}}, true); !errors.Is(err, ErrNoSpace) {
		t.Errorf("durable status with 1 MiB free: %v", err)
	}
	if _, ok := s.View().Job("j1"); !ok {
		t.Error("reads are not served")
	}
	set(1 << 40)
	if rev := s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "x"}) }); rev != 2 {
		t.Errorf("the write after has revision %d, want 2", rev)
	}
}

// brokenLog appends, and then says that it failed: as a disk whose last sync failed after the data arrived.
type brokenLog struct {
	Log
	lost bool // the data did not arrive
}

func (l brokenLog) Append(ctx context.Context, after Revision, r []Record) (Revision, error) {
	if !l.lost {
		if _, err := l.Log.Append(ctx, after, r); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("input/output error")
}

func TestAFailedCommitIsUnknownAndEndsRun(t *testing.T) {
	for _, lost := range []bool{false, true} {
		dir := t.TempDir()
		s := start(t, Options{Dir: dir, Init: true, faults: faults{log: func(l Log) Log { return brokenLog{l, lost} }}})
		_, err := s.Write(t.Context(), who, func(txn *Txn) error { txn.PutTenant(Tenant{Name: "x"}); return nil })
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("write: %v, want ErrUnknown", err)
		}
		if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "input/output error") {
			t.Errorf("run: %v, want the disk's error", err)
		}
		if _, ok := s.View().Tenant("x"); ok {
			t.Error("what may not be durable is visible")
		}
		if _, err := s.Write(t.Context(), who, func(*Txn) error { return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("write after the end: %v, want ErrClosed", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r := mustOpen(t, Options{Dir: dir})
		if _, ok := r.View().Tenant("x"); ok == lost {
			t.Errorf("lost=%v: after reopen there=%v", lost, ok)
		}
		_ = r.Close()
	}
}

func TestNobodyWaitsForEverOnceRunEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Dir: t.TempDir(), Init: true})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				_, err := s.Write(context.Background(), who, func(txn *Txn) error {
					txn.PutTenant(Tenant{Name: fmt.Sprint(i)})
					return nil
				})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("write %d: %v", i, err)
				}
			})
		}
		s.stop(t)
		wg.Wait() // a write that hangs is a deadlock of the bubble
		if _, err := s.EpochAtLeast(t.Context(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("epoch: %v, want ErrClosed", err)
		}
	})
}

func TestSubscribersAreToldOfTheirClusterOnly(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	one, cancel := s.Subscribe("c1")
	two, cancelTwo := s.Subscribe("c2")
	defer cancelTwo()
	told := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 1) })
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 2) })
	if !told(one) || told(one) || told(two) {
		t.Error("two changes of c1 are not one signal for c1 and none for c2")
	}
	s.write(t, func(txn *Txn) { txn.PutCluster(Cluster{UID: "c2", Name: "b", State: ClusterJoined, Banned: true}) })
	if told(one) || !told(two) {
		t.Error("a ban of c2 is not a signal for c2 alone")
	}
	cancel()
	s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 3) })
	if told(one) {
		t.Error("told after cancel")
	}
}

func TestAuditIsAChainAcrossReopenAndCheckpoint(t *testing.T) {
	dir := t.TempDir()
	n := 0
	for range 4 {
		s := start(t, Options{Dir: dir, Init: n == 0})
		for range 5 {
			n++
			_, err := s.Write(t.Context(), Audit{Who: "admin/a", Verb: "v", Object: fmt.Sprint(n)}, func(txn *Txn) error {
				txn.PutTenant(Tenant{Name: "default"})
				txn.Note("noted")
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if n%3 == 0 {
				if err := s.checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		tail, err := s.AuditTail(100)
		if err != nil || len(tail) != n {
			t.Fatalf("%d audit records of %d, %v", len(tail), n, err)
		}
		for i, a := range tail {
			if a.Object != fmt.Sprint(i+1) || a.Revision != Revision(i+1) || a.At.IsZero() || a.Detail != "noted" {
				t.Errorf("record %d is %+v", i, a)
			}
		}
		s.stop(t)
	}
}

func TestAChangedAuditRecordBreaksTheChain(t *testing.T) {
	rows := map[Revision]Row{}
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	for range 3 {
		s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
	}
	err := s.log.Load(t.Context(), 0, func(r Record) error { rows[r.Revision] = r.Rows[len(r.Rows)-1]; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chained(rows, []Revision{1, 2, 3}); err != nil {
		t.Errorf("untouched: %v", err)
	}
	if _, err := chained(rows, []Revision{1, 3}); err == nil {
		t.Error("a record was taken out unseen")
	}
	r := rows[2]
	r.Header = []byte(strings.Replace(string(r.Header), "admin/test", "admin/fake", 1))
	rows[2] = r
	if _, err := chained(rows, []Revision{1, 2, 3}); err == nil {
		t.Error("a record was changed unseen")
	}
}

func TestTheLastFiftySpecsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, Init: true})
	for g := int32(1); g <= 70; g++ {
		s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", g) })
		s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", g) }) // labels only
		if g == 30 || g == 65 {
			if err := s.checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func() {
		t.Helper()
		specs, err := s.SpecHistory("j1")
		if err != nil || len(specs) != 50 {
			t.Fatalf("%d specs, %v", len(specs), err)
		}
		for i, v := range specs {
			if want := int32(21 + i); v.Generation != want || v.Spec.Parallelism != want || v.At.IsZero() {
				t.Errorf("spec %d: %+v", i, v)
			}
		}
	}
	check()
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	s.write(t, func(txn *Txn) { dropJob(txn, "c1", "j1") })
	if specs, err := s.SpecHistory("j1"); err != nil || len(specs) != 0 {
		t.Errorf("a job that is gone has %d specs, %v", len(specs), err)
	}
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if specs, err := s.SpecHistory("j1"); err != nil || len(specs) != 0 {
		t.Errorf("after a checkpoint a job that is gone has %d specs, %v", len(specs), err)
	}
	s.stop(t)
}

func TestADroppedOrderLeavesAStubForHalfAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := start(t, Options{Dir: dir, Init: true})
		rev := s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 1) })
		s.write(t, func(txn *Txn) { dropJob(txn, "c1", "j1") })
		stub := func() bool {
			v, ok, err := s.Stub("c1", "j1")
			if err != nil || ok && v.Revision != rev {
				t.Errorf("stub %v, %v", v, err)
			}
			return ok
		}
		if !stub() {
			t.Error("no stub before the checkpoint")
		}
		time.Sleep(24 * time.Hour) // in a bubble: the clock goes on by itself
		if !stub() {
			t.Error("no stub after a day")
		}
		if err := s.rows.expire(time.Now().Add(178 * 24 * time.Hour)); err != nil || !stub() {
			t.Errorf("no stub after 179 days, %v", err)
		}
		if err := s.rows.expire(time.Now().Add(181 * 24 * time.Hour)); err != nil || stub() {
			t.Errorf("a stub after 182 days, %v", err)
		}
		s.stop(t)
	})
}

func TestFollowGivesWhatIsThereAndWhatComes(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	for range 3 {
		s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
	}
	got := make(chan Revision, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for r, err := range s.log.Follow(ctx, 1) {
			if err != nil {
				t.Error(err)
			}
			got <- r.Revision
		}
	}()
	for want := Revision(2); want <= 5; want++ {
		if want > 3 {
			s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
		}
		if rev := <-got; rev != want {
			t.Errorf("followed %d, want %d", rev, want)
		}
	}
	cancel()
	<-ended
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.log.Follow(t.Context(), 1) {
		if !errors.Is(err, ErrTrimmed) {
			t.Errorf("following what was trimmed: %v", err)
		}
		break
	}
	if _, err := s.log.Append(t.Context(), 3, nil); !errors.Is(err, errMoved) {
		t.Errorf("append after an old head: %v", err)
	}
}

func TestOnlyOneHubRunsOnADirectory(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, Init: true})
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	_ = s.Close()
	_ = mustOpen(t, Options{Dir: dir}).Close()
}

func copyFiles(t tester, from, to string) {
	t.Helper()
	for _, name := range []string{logFile, rowsFile} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatalf("copy: %v", err)
		}
	}
}
