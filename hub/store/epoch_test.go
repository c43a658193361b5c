package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachOpenBeginsALaterEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		last := Epoch{}
		for i := range 5 {
			s := start(t, Options{Dir: dir, Init: i == 0}) // all within one second of the clock
			e := s.View().Epoch()
			if e.Number <= last.Number || e.ID == last.ID || len(e.ID) != 32 || e.Number <= time.Now().Unix() {
				t.Errorf("epoch %+v after %+v at %d", e, last, time.Now().Unix())
			}
			last = e
			s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
			if i%2 == 0 {
				s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) })
			}
			s.stop(t)
		}
		s := mustOpen(t, Options{Dir: dir})
		defer s.Close()
		spans := s.Ancestry()
		if len(spans) != 6 || spans[5].Epoch != s.View().Epoch() {
			t.Fatalf("ancestry: %+v", spans)
		}
		next := Revision(1)
		for i, span := range spans {
			if span.First != next || i < 5 && span.Last != span.First+Revision(1-i%2) {
				t.Errorf("span %d: %+v, want it to begin at %d", i, span, next)
			}
			next = span.Last + 1
		}
		if last := spans[5]; last.Last != s.View().Head() || last.First != last.Last+1 {
			t.Errorf("an epoch that wrote nothing: %+v at head %d", last, s.View().Head())
		}
	})
}

func TestARestoredHubBeginsLaterThanTheHistoryItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, backup := t.TempDir(), t.TempDir()
		s := withJob(t, Options{Dir: dir, Init: true})
		s.stop(t)
		copyFiles(t, dir, backup)
		time.Sleep(time.Hour)
		lost := mustOpen(t, Options{Dir: dir})
		defer lost.Close()
		time.Sleep(time.Minute)
		restored := mustOpen(t, Options{Dir: backup})
		defer restored.Close()
		if l, r := lost.View().Epoch(), restored.View().Epoch(); r.Number <= l.Number || r.ID == l.ID {
			t.Errorf("restored %+v is not later than %+v", r, l)
		}
	})
}

func TestAnEpochSeenElsewhereIsOutrunDurably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := withJob(t, Options{Dir: dir, Init: true})
		first := s.View().Epoch()
		if e, err := s.EpochAtLeast(t.Context(), first.Number-1); err != nil || e != first {
			t.Errorf("an earlier number began %+v, %v", e, err)
		}
		seen := first.Number + 1000
		e, err := s.EpochAtLeast(t.Context(), seen)
		if err != nil || e.Number <= seen || e != s.View().Epoch() {
			t.Errorf("a later number: %+v, %v", e, err)
		}
		rev := s.write(t, func(txn *Txn) { putJob(txn, "c1", "j1", "clicks", 2) })
		if row, _ := s.View().Order("c1", "j1"); row.Version != (Version{e.Number, rev}) {
			t.Errorf("an order of the new epoch has version %+v", row.Version)
		}
		if spans := s.Ancestry(); len(spans) != 2 || spans[0].Last != 1 || spans[1] != (Span{Epoch: e, First: 2, Last: 2}) {
			t.Errorf("ancestry: %+v", spans)
		}
		s.stop(t)
		s = start(t, Options{Dir: dir})
		if again := s.View().Epoch(); again.Number <= e.Number {
			t.Errorf("epoch %+v after %+v", again, e)
		}
		s.stop(t)
	})
}

func TestAnEpochFarAheadOfTheClockIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := start(t, Options{Dir: dir, Init: true})
		before := s.View().Epoch()
		if _, err := s.EpochAtLeast(t.Context(), time.Now().Add(25*time.Hour).Unix()); !errors.Is(err, ErrEpochAhead) {
			t.Errorf("25 h ahead: %v, want ErrEpochAhead", err)
		}
		if s.View().Epoch() != before {
			t.Error("it began an epoch all the same")
		}
		if e, err := s.EpochAtLeast(t.Context(), time.Now().Add(23*time.Hour).Unix()); err != nil || e.Number <= before.Number {
			t.Errorf("23 h ahead: %+v, %v", e, err)
		}
		s.stop(t)
		if _, err := Open(t.Context(), Options{Dir: dir, MaxEpochSeen: time.Now().Add(25 * time.Hour).Unix()}); !errors.Is(err, ErrEpochAhead) {
			t.Errorf("open: %v, want ErrEpochAhead", err)
		}
	})
}

func TestOldEpochsLeaveTheAncestry(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), Init: true})
	defer s.Close()
	s.rows.db.NoSync = true
	spans := make([]Span, maxSpans+10)
	for i := range spans {
		spans[i] = Span{Epoch: Epoch{Number: int64(i + 1)}}
	}
	if err := s.rows.putSpans(spans...); err != nil {
		t.Fatal(err)
	}
	kept, err := s.rows.spans()
	if err != nil || len(kept) != maxSpans || kept[len(kept)-1].Epoch.Number != s.View().Epoch().Number {
		t.Errorf("%d epochs kept, %v", len(kept), err)
	}
}
