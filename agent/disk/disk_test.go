package disk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

func decode(b []byte) (flink.Order, error) {
	var o flink.Order
	err := json.Unmarshal(b, &o)

	return o, err
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{Create: true, Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })

	return s
}

func reopen(t *testing.T, s *Store, path string) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })

	return s
}

func orderRow(uid string, epoch, rev int64, generation, term int32) feed.Row {
	body := marshal(flink.Order{UID: uid, Name: "n-" + uid, Generation: generation, Term: term})
	sum := sha256.Sum256(body)

	return feed.Row{
		UID: uid, Version: feed.Version{EpochNumber: epoch, Revision: rev}, Generation: generation, Term: term,
		Kind: feed.KindJob, Schema: feed.SchemaOrder, Body: body, Hash: sum[:],
	}
}

func tombstone(uid string, epoch, rev int64, term int32, policy flink.DeletePolicy) feed.Row {
	sum := sha256.Sum256(nil)

	return feed.Row{
		UID: uid, Version: feed.Version{EpochNumber: epoch, Revision: rev}, Term: term, Kind: feed.KindJob,
		Deleted: true, Policy: policy, Hash: sum[:],
	}
}

func frame(rev int64, rows ...feed.Row) feed.Frame {
	return feed.Frame{Epoch: feed.Epoch{Number: 1, ID: "e1"}, Rows: rows, Cursor: feed.Cursor{EpochID: "e1", Revision: rev}}
}

func record(t *testing.T, s *Store, f feed.Frame) feed.Recorded {
	t.Helper()
	r, err := s.Record(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}

	return r
}

func TestRecordsSurviveAReopenAndTheRootFollowsTheLiveRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	got := record(t, s, frame(3, orderRow("a", 1, 2, 1, 1), orderRow("b", 1, 3, 7, 2)))
	if !slices.Equal(got.Changed, []string{"a", "b"}) || got.Cursor != (feed.Cursor{EpochID: "e1", Revision: 3}) {
		t.Fatalf("recorded = %+v", got)
	}
	if err := s.SaveMemory(t.Context(), "b", plan.Memory{Term: 2, LastRun: 9}); err != nil {
		t.Fatal(err)
	}
	record(t, s, frame(4, tombstone("a", 1, 4, 1, flink.DeleteCancel)))

	before := s.Standing()
	s = reopen(t, s, path)
	if after := s.Standing(); after != before {
		t.Errorf("standing after reopen = %+v, want %+v", after, before)
	}
	var tree digest.Tree
	b := orderRow("b", 1, 3, 7, 2)
	tree.Add(digest.Row{UID: "b", EpochNumber: 1, Revision: 3, Hash: b.Hash})
	if before.Root != tree.Root() || before.Count != 1 {
		t.Errorf("standing = %+v, want the root of b alone", before)
	}

	rec, ok, err := s.Load(t.Context(), "b")
	if err != nil || !ok || rec.Order.Name != "n-b" || rec.Order.Generation != 7 || rec.Memory.LastRun != 9 {
		t.Errorf("b = %+v %v %v", rec, ok, err)
	}
	rec, ok, err = s.Load(t.Context(), "a")
	if err != nil || !ok || !rec.Order.Deleted || rec.Order.Policy != flink.DeleteCancel || rec.Order.Name != "n-a" {
		t.Errorf("a = %+v %v %v, want the last order under a tombstone", rec, ok, err)
	}
}

func TestOnlyANewerVersionIsTaken(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	first := frame(5, orderRow("a", 2, 5, 3, 1))
	record(t, s, first)
	for name, old := range map[string]feed.Row{
		"same version":                     orderRow("a", 2, 5, 4, 1),
		"older revision":                   orderRow("a", 2, 4, 4, 1),
		"older epoch with higher revision": orderRow("a", 1, 50, 4, 1),
		"tombstone of an older version":    tombstone("a", 2, 4, 1, ""),
	} {
		if got := record(t, s, frame(5, old)); len(got.Changed)+len(got.Nacks) != 0 {
			t.Errorf("%s: changed %v", name, got)
		}
	}
	rec, _, _ := s.Load(t.Context(), "a")
	if rec.Order.Generation != 3 || rec.Order.Deleted {
		t.Errorf("order = %+v, want generation 3", rec.Order)
	}
	if got := record(t, s, frame(2, orderRow("a", 3, 1, 4, 1))); len(got.Changed) != 1 {
		t.Errorf("a later epoch with a smaller revision was not taken: %+v", got)
	}
	if c := s.Standing().Cursor; c.Revision != 5 {
		t.Errorf("cursor = %+v, went back", c)
	}
}

func TestAFrameOfAnOlderWriterIsFenced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	if _, err := s.Record(t.Context(), feed.Frame{Epoch: feed.Epoch{Number: 7, ID: "e7"}}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, path)
	before := s.Standing()
	if before.MaxEpoch != 7 {
		t.Fatalf("standing = %+v, want epoch 7 seen", before)
	}
	if _, err := s.Record(t.Context(), frame(9, orderRow("a", 1, 9, 1, 1))); !errors.Is(err, feed.ErrFenced) {
		t.Errorf("err = %v, want fenced", err)
	}
	if s.Standing() != before {
		t.Error("a fenced frame left a trace")
	}
}

func TestARejectedRowIsRecordedAndTheLastGoodOneStaysInForce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	for name, c := range map[string]struct {
		spoil func(*feed.Row)
		code  string
	}{
		"kind":     {func(r *feed.Row) { r.Kind = 77 }, feed.CodeUnsupported},
		"schema":   {func(r *feed.Row) { r.Schema = 2 }, feed.CodeUnsupported},
		"hash":     {func(r *feed.Row) { r.Hash = []byte("x") }, feed.CodeCorrupt},
		"identity": {func(r *feed.Row) { r.Term = 9 }, feed.CodeCorrupt},
		"body": {func(r *feed.Row) {
			r.Body = []byte("{")
			sum := sha256.Sum256(r.Body)
			r.Hash = sum[:]
		}, feed.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, path+name)
			record(t, s, frame(1, orderRow("a", 1, 1, 1, 1)))
			bad, good := orderRow("a", 1, 2, 2, 1), orderRow("b", 1, 3, 1, 1)
			c.spoil(&bad)
			got := record(t, s, frame(3, bad, good))
			if len(got.Nacks) != 1 || got.Nacks[0].Code != c.code || got.Nacks[0].Class != feed.ClassPermanent || got.Nacks[0].Version != bad.Version {
				t.Fatalf("nacks = %+v", got.Nacks)
			}
			if got.Cursor.Revision != 3 || !slices.Equal(got.Changed, []string{"b"}) {
				t.Errorf("recorded = %+v: the rest of the frame must go on", got)
			}
			s = reopen(t, s, path+name)
			if again := s.Rejected(); !slices.Equal(again, got.Nacks) {
				t.Errorf("rejected after reopen = %+v, want %+v", again, got.Nacks)
			}
			if rec, ok, err := s.Load(t.Context(), "a"); err != nil || !ok || rec.Order.Generation != 1 {
				t.Errorf("a = %+v %v %v, want generation 1", rec, ok, err)
			}
			if again := record(t, s, frame(3, bad)); len(again.Nacks) != 0 {
				t.Error("the same version was nacked twice")
			}
			if got := record(t, s, frame(4, orderRow("a", 1, 4, 3, 1))); !slices.Equal(got.Changed, []string{"a"}) {
				t.Errorf("the mended row was not taken: %+v", got)
			}
			if left := s.Rejected(); len(left) != 0 {
				t.Errorf("rejected after the mend = %+v", left)
			}
		})
	}
}

func TestAFrameIsRecordedWholeOrNotAtAll(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	record(t, s, frame(1, orderRow("a", 1, 1, 1, 1)))
	before := s.Standing()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Record(ctx, frame(3, orderRow("a", 1, 2, 2, 1), orderRow("b", 1, 3, 1, 1))); err == nil {
		t.Fatal("a write that did not happen was no error")
	}
	if s.Standing() != before {
		t.Error("something of a failed frame is visible")
	}
	// A frame whose write goes on has no cursor.
	got := record(t, s, feed.Frame{Epoch: feed.Epoch{Number: 4, ID: "e4"}, Rows: []feed.Row{orderRow("a", 4, 2, 2, 1)}})
	if got.Cursor.Revision != 1 || s.Standing().MaxEpoch != 4 {
		t.Errorf("cursor = %+v, max epoch = %d", got.Cursor, s.Standing().MaxEpoch)
	}
}

func TestAGoneJobIsForgottenOnlyWhenTheHubHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	record(t, s, frame(2, orderRow("a", 1, 1, 1, 1), orderRow("live", 1, 2, 1, 1)))
	if err := s.Remove(t.Context(), "a"); err == nil {
		t.Fatal("a job without tombstone was removed")
	}
	record(t, s, frame(4, tombstone("a", 1, 3, 1, ""), tombstone("never-seen", 1, 4, 1, "")))
	if uids, _ := s.Jobs(t.Context()); !slices.Equal(uids, []string{"a", "live", "never-seen"}) {
		t.Fatalf("jobs = %v: the tombstone of an unknown job must be planned too", uids)
	}
	if err := errors.Join(s.Remove(t.Context(), "a"), s.Remove(t.Context(), "a")); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, path)
	if uids, _ := s.Jobs(t.Context()); slices.Contains(uids, "a") {
		t.Error("a job that is gone is still planned")
	}
	reports := s.Reports()
	if len(reports) != 1 || !reports[0].Status.Gone || reports[0].UID != "a" {
		t.Fatalf("reports = %+v, want a gone", reports)
	}
	if got := record(t, s, frame(4, tombstone("a", 1, 3, 1, ""))); len(got.Changed) != 0 {
		t.Error("the record of a gone job was dropped before the hub had it")
	}
	forgotten, err := s.Settle(t.Context(), reports)
	if err != nil || !slices.Equal(forgotten, []string{"a"}) || len(s.Reports()) != 0 {
		t.Fatalf("settled: %v %v, left %v", forgotten, err, s.Reports())
	}
	s = reopen(t, s, path)
	if err := s.SaveMemory(t.Context(), "a", plan.Memory{}); !errors.Is(err, ErrUnknownJob) {
		t.Errorf("saving the memory of a forgotten job: %v", err)
	}
}

func TestALaterOrderKeepsAJobThatWasReportedGone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	record(t, s, frame(1, tombstone("a", 1, 1, 1, "")))
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	reports := s.Reports()
	record(t, s, frame(2, orderRow("a", 1, 2, 5, 2)))
	if forgotten, err := s.Settle(t.Context(), reports); err != nil || len(forgotten) != 0 {
		t.Fatalf("settled: %v %v", forgotten, err)
	}
	if rec, ok, err := s.Load(t.Context(), "a"); err != nil || !ok || rec.Order.Term != 2 || rec.Order.Deleted {
		t.Errorf("a = %+v %v %v, want term 2", rec, ok, err)
	}
}

func TestALaterReportIsNotSettledByAnEarlierAck(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	first, err := s.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	same, _ := s.PutReport(t.Context(), "a", flink.Status{State: flink.Failed, Term: 1})
	if same.ID != first.ID {
		t.Error("the same status was written twice")
	}
	if _, err := s.PutReport(t.Context(), "a", flink.Status{State: flink.Finished, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(t.Context(), []feed.Report{first}); err != nil {
		t.Fatal(err)
	}
	if left := s.Reports(); len(left) != 1 || left[0].Status.State != flink.Finished {
		t.Errorf("left = %+v, want the later report", left)
	}
}

func TestAStoreThatIsNotWholeIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.db"), Options{Decode: decode}); !errors.Is(err, ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	empty := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	flipped := filepath.Join(dir, "flipped.db")
	s := open(t, flipped)
	record(t, s, frame(1, orderRow("a", 1, 1, 1, 1)))
	err := s.db.Update(func(tx *bolt.Tx) error {
		v := slices.Clone(tx.Bucket(bucketBodies).Get([]byte("a")))
		v[len(v)-2] ^= 1

		return tx.Bucket(bucketBodies).Put([]byte("a"), v)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, garbage, flipped} {
		if s, err := Open(path, Options{Create: true, Decode: decode}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want damaged", filepath.Base(path), err)
			if s != nil {
				_ = s.Close()
			}
		}
	}
}

func TestALostStoreMadeAnewNamesTheSamePlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	site := s.Standing().SiteUID
	if err := errors.Join(s.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path).Standing(); again.SiteUID != site || len(site) != 32 || !again.Cursor.IsZero() {
		t.Errorf("standing = %+v, want site %s and no cursor", again, site)
	}
}
