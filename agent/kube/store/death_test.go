package store

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/flink"
)

// script is a life of a job in steps, each of one commit.
func script() []func(*testing.T, *Store) error {
	return []func(*testing.T, *Store) error{
		func(t *testing.T, s *Store) error {
			_, err := s.Record(t.Context(), recordstest.Frame(2, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))

			return err
		},
		func(t *testing.T, s *Store) error { return s.SaveMemory(t.Context(), "a", memory(1, 1)) },
		func(t *testing.T, s *Store) error {
			_, err := s.PutReport(t.Context(), "a", flink.Status{State: flink.Suspended, Term: 1, Run: 1})

			return err
		},
		func(t *testing.T, s *Store) error {
			_, err := s.Record(t.Context(), recordstest.Frame(3, recordstest.Order("a", 1, 3, 2, 1)))

			return err
		},
		func(t *testing.T, s *Store) error { return s.SaveMemory(t.Context(), "a", memory(2, 2)) },
		func(t *testing.T, s *Store) error {
			_, err := s.Record(t.Context(), recordstest.Frame(4, recordstest.Tombstone("a", 1, 4, 1, flink.DeleteCancel)))

			return err
		},
		func(t *testing.T, s *Store) error { return s.Remove(t.Context(), "a") },
		func(t *testing.T, s *Store) error {
			_, err := s.Settle(t.Context(), s.Reports())

			return err
		},
	}
}

// covered reports whether every row of the script up to the cursor is on record.
func covered(t *testing.T, s *Store) bool {
	t.Helper()
	st := s.Standing()
	switch rev := st.Cursor.Revision; {
	case rev >= 4:
		return st.Count == 1
	case rev == 3:
		a, ok, err := s.Load(t.Context(), "a")

		return err == nil && ok && (a.Order.Generation == 2 || a.Order.Deleted)
	case rev == 2:
		return st.Count == 2
	}

	return st.Cursor.IsZero()
}

// death is how a life of the agent ends.
type death struct {
	at      int64 // number of the write
	deaf    bool  // the write is done, and its answer lost
	restart bool  // else the connection alone dies, and the same process goes on
}

// liveThrough carries out the script with a death in it, and goes on from there. died is false when there was no such write.
func (d death) liveThrough(t *testing.T, p *place) (died bool) {
	t.Helper()
	s := p.open()
	p.calls.die(d.at, d.deaf)
	defer p.calls.live()
	for i, step := range script() {
		err := step(t, s)
		if err == nil {
			continue
		}
		if !errors.Is(err, errDied) {
			t.Fatalf("%+v, step %d: %v", d, i, err)
		}
		p.calls.live()
		if d.restart {
			if s = p.open(); !covered(t, s) {
				t.Errorf("%+v, step %d: the cursor is before its rows", d, i)
			}
		}
		for _, again := range script()[i:] {
			if err := again(t, s); err != nil {
				t.Fatalf("%+v, step %d, again: %v", d, i, err)
			}
		}

		return true
	}

	return false
}

// Whatever write an agent dies at, done or not, the next one goes on from what is on record, and the same steps end in the
// same records.
func TestAnAgentThatDiesAtAnyWriteGoesOnFromThere(t *testing.T) {
	s := newPlace(t).open()
	for _, step := range script() {
		if err := step(t, s); err != nil {
			t.Fatal(err)
		}
	}
	want := s.Standing()
	deaths := 0
	for at, died := int64(0), true; died; at++ {
		died = false
		for _, d := range []death{{at, false, false}, {at, true, false}, {at, false, true}, {at, true, true}} {
			p := newPlace(t)
			if d.liveThrough(t, p) {
				died = true
				deaths++
			}
			got := p.open().Standing()
			if got.Root != want.Root || got.Cursor != want.Cursor || got.Count != want.Count {
				t.Errorf("%+v: standing %+v, want %+v", d, got, want)
			}
			if left, err := p.objects.List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 1 {
				t.Errorf("%+v: %d objects left, want that of b: %v", d, len(left.Items), err)
			}
		}
	}
	if deaths < 40 {
		t.Errorf("%d deaths only: this is not every write", deaths)
	}
}

func TestAJobWhoseRowWasRecordedByACommitThatFailedIsWoken(t *testing.T) {
	p := newPlace(t)
	s, woken, _ := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("b", 1, 1, 1, 1)))
	p.calls.die(1, false) // the object is written, the cursor is not
	if _, err := s.Record(t.Context(), recordstest.Frame(2, recordstest.Order("a", 1, 2, 1, 1))); !errors.Is(err, errDied) {
		t.Fatalf("err = %v", err)
	}
	if st := s.Standing(); st.Cursor.Revision != 1 || st.Count != 1 {
		t.Errorf("standing = %+v: what is in doubt is shown", st)
	}
	p.calls.live()
	await(t, "all is read again", func() bool { _, err := s.Jobs(t.Context()); return err == nil })
	if uid := <-woken; uid != "a" {
		t.Errorf("woken: %s", uid)
	}
	if got, err := s.Record(t.Context(), recordstest.Frame(2, recordstest.Order("a", 1, 2, 1, 1))); err != nil || len(got.Changed) != 0 || got.Cursor.Revision != 2 {
		t.Errorf("recorded again: %+v %v", got, err)
	}
}
