package store

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
