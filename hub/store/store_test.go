package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
)

var who = Audit{Who: "admin/test", Verb: "test"}

// testing.T and B, and what a rapid test has.
type tester interface {
	Context() context.Context
	Helper()
	Fatalf(string, ...any)
}

func mustOpen(t tester, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
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
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
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
	rev, err := r.Write(t.Context(), who, func(txn *Txn) error { fn(txn); return nil })
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

func TestOnlyOneHubRunsOnADirectory(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, Init: true})
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	_ = s.Close()
	_ = mustOpen(t, Options{Dir: dir}).Close()
}

// copyFiles copies a store's files without the room to grow at their ends, which is most of them.
func copyFiles(t tester, from, to string) {
	t.Helper()
	for _, name := range []string{logFile, rowsFile} {
		b, size := usedBytes(t, filepath.Join(from, name))
		err := os.WriteFile(filepath.Join(to, name), b, 0o600)
		if err == nil {
			err = os.Truncate(filepath.Join(to, name), size)
		}
		if err != nil {
			t.Fatalf("copy: %v", err)
		}
	}
}

// usedBytes are a bbolt file's pages in use; size is the whole file's.
func usedBytes(t tester, path string) (b []byte, size int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	defer f.Close()
	m, metaErr := newestMeta(f)
	info, err := f.Stat()
	if err := errors.Join(err, metaErr); err != nil {
		t.Fatalf("copy %s: %v", path, err)
	}
	b = make([]byte, min(int64(m.pages)*int64(m.pageSize), info.Size()))
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatalf("copy: %v", err)
	}
	return b, info.Size()
}
