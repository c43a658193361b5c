package store

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
)

// model is what a store must be equal to, in maps.
type model struct {
	head     Revision
	jobs     map[string]Job
	statuses map[string]string
	epoch    int64
	audits   int
}

// Random writes, some refused, statuses, checkpoints and reopens are the same as writes to a map.
func TestStoreIsAMapThatSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "store-model-") //nolint:usetesting // one a draw, gone with it
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer os.RemoveAll(dir)
		m := model{jobs: map[string]Job{}, statuses: map[string]string{}}
		s := start(t, Options{Dir: dir, Init: true})
		stopped := false
		defer func() {
			if !stopped {
				s.stop(t)
			}
		}()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "status", "checkpoint", "reopen"}).Draw(t, "step") {
			case "write":
				m.write(t, s)
			case "status":
				m.status(t, s)
			case "checkpoint":
				if err := s.checkpoint(t.Context()); err != nil {
					t.Fatalf("checkpoint: %v", err)
				}
			case "reopen":
				s.stop(t)
				stopped = true
				s = start(t, Options{Dir: dir})
				stopped = false
			}
			m.check(t, s)
		}
	})
}

// write changes up to four jobs in one write, some of which is refused.
func (m *model) write(t *rapid.T, s *running) {
	refuse := rapid.IntRange(0, 4).Draw(t, "refuse") == 0
	jobs, statuses, changed := maps.Clone(m.jobs), maps.Clone(m.statuses), false
	_, err := s.Write(t.Context(), who, func(txn *Txn) error {
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 6), 0, 4).Draw(t, "jobs") {
			uid := fmt.Sprintf("j%d", n)
			if old, ok := txn.Job(uid); ok && rapid.Bool().Draw(t, "drop") {
				dropJob(txn, old.Spec.Cluster, uid)
				delete(jobs, uid)
				delete(statuses, uid)
				changed = true
				continue
			}
			cluster := fmt.Sprintf("c%d", n%2)
			putJob(txn, cluster, uid, "name-"+uid, int32(txn.Revision()))
			jobs[uid], _ = txn.Job(uid)
			changed = true
		}
		if refuse {
			return fmt.Errorf("refused")
		}
		return nil
	})
	if (err != nil) != refuse {
		t.Fatalf("write: %v", err)
	}
	if err == nil && changed {
		m.jobs, m.statuses = jobs, statuses
		m.head++
		m.audits++
	}
}

func (m *model) status(t *rapid.T, s *running) {
	n := rapid.IntRange(0, 6).Draw(t, "job")
	uid, message := fmt.Sprintf("j%d", n), rapid.StringN(0, 5, 20).Draw(t, "message")
	row := StatusRow{JobUID: uid, Status: flink.Status{Term: 1, Message: message}}
	if err := s.PutStatuses(t.Context(), fmt.Sprintf("c%d", n%2), []StatusRow{row}, rapid.Bool().Draw(t, "durable")); err != nil {
		t.Fatalf("status: %v", err)
	}
	if _, ok := m.jobs[uid]; ok {
		m.statuses[uid] = message
	}
}

func (m *model) check(t *rapid.T, s *running) {
	v := s.View()
	if v.Head() != m.head || v.Epoch().Number < m.epoch {
		t.Fatalf("head %d, epoch %d; want %d, at least %d", v.Head(), v.Epoch().Number, m.head, m.epoch)
	}
	m.epoch = v.Epoch().Number
	want := slices.Sorted(maps.Keys(m.jobs))
	var got []string
	for _, j := range v.Jobs("default", "", 0) {
		got = append(got, j.UID)
		if w := m.jobs[j.UID]; j.Generation != w.Generation || j.Revision != w.Revision || !j.UpdatedAt.Equal(w.UpdatedAt) {
			t.Fatalf("job %+v, want %+v", j, w)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("jobs %v, want %v", got, want)
	}
	fed := 0
	for _, cluster := range []string{"c0", "c1"} {
		rows, upTo, _ := s.Feed(cluster, 0, 1<<20, false)
		fed += len(rows)
		for _, r := range rows {
			if r.Version.Revision != m.jobs[r.UID].Revision || upTo != m.head || len(r.Body) == 0 {
				t.Fatalf("feed row %s at %d up to %d, want %d up to %d", r.UID, r.Version.Revision, upTo, m.jobs[r.UID].Revision, m.head)
			}
		}
		if held := v.JobsOf(cluster); len(held) != len(rows) {
			t.Fatalf("%d jobs held, %d fed", len(held), len(rows))
		}
	}
	if fed != len(m.jobs) {
		t.Fatalf("%d rows fed of %d", fed, len(m.jobs))
	}
	for n := range 7 {
		uid := fmt.Sprintf("j%d", n)
		r, ok := s.Status(uid)
		if message, want := m.statuses[uid]; ok != want || r.Status.Message != message {
			t.Fatalf("status of %s: %q (%v), want %q (%v)", uid, r.Status.Message, ok, message, want)
		}
	}
	if tail, err := s.AuditTail(1000); err != nil || len(tail) != m.audits {
		t.Fatalf("%d audit records, %v; want %d", len(tail), err, m.audits)
	}
}
