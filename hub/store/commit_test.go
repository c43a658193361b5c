package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestAnErrorOfOneWriteAbortsThatWriteAlone(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	before := s.View()
	wrong := errors.New("wrong")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_, err := s.Write(t.Context(), who, func(txn *Txn) error {
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
				_, err := s.Write(t.Context(), who, func(txn *Txn) error {
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
