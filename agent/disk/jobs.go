package disk

import (
	"context"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// Record is what is kept about one job: the order in force and the planner's memory.
type Record struct {
	Order  flink.Order
	Memory plan.Memory
}

// Jobs lists the uids of all jobs with an order in force, sorted. Jobs that are gone from here are not among them, even
// while the hub does not know it yet.
func (s *Store) Jobs(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var uids []string
	for uid, r := range s.rows {
		if r.Active != nil && !r.Removed {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)

	return uids, nil
}

// Load returns the record of a job; false when there is none, or the job is gone.
func (s *Store) Load(_ context.Context, uid string) (Record, bool, error) {
	s.mu.Lock()
	r, ok := s.rows[uid]
	s.mu.Unlock()
	if !ok || r.Active == nil || r.Removed {
		return Record{}, false, nil
	}
	rec := Record{Order: flink.Order{UID: uid}}
	err := s.db.View(func(tx *bolt.Tx) error {
		if r.Active.HasBody {
			b, err := unseal([]byte(uid), tx.Bucket(bucketBodies).Get([]byte(uid)))
			if err != nil {
				return err
			}
			if rec.Order, err = s.decode(slices.Clone(b)); err != nil {
				return fmt.Errorf("decode order: %w", err)
			}
		}

		return getJSON(tx.Bucket(bucketMemories), []byte(uid), &rec.Memory)
	})
	if err != nil {
		return Record{}, false, fmt.Errorf("load job %s: %w", uid, err)
	}
	// The row's own fields win: a tombstone carries no body, the body of the last order stands under it.
	rec.Order.Generation, rec.Order.Term = r.Active.Generation, r.Active.Term
	rec.Order.Deleted, rec.Order.Policy = r.Active.Deleted, r.Active.Policy

	return rec, true, nil
}

// SaveMemory makes the memory durable before it returns. ErrUnknownJob if the job is not on record.
func (s *Store) SaveMemory(ctx context.Context, uid string, m plan.Memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.rows[uid]; !ok || r.Active == nil || r.Removed {
		return fmt.Errorf("save memory of %s: %w", uid, ErrUnknownJob)
	}

	return s.update(ctx, func(tx *bolt.Tx) error {
		return put(tx.Bucket(bucketMemories), []byte(uid), marshal(m))
	})
}

// Remove says that nothing of a deleted job is left here. The job is no longer listed, its memory goes, and in the same
// transaction the report is written that tells the hub. The row itself goes when the hub has that report on disk
// (Settle). Removing a job that is not deleted is an error; removing one twice, or an unknown one, changes nothing.
func (s *Store) Remove(ctx context.Context, uid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rows[uid]
	switch {
	case !ok || r.Removed:
		return nil
	case r.Active == nil || !r.Active.Deleted:
		return fmt.Errorf("remove %s: there is no tombstone for it", uid)
	}
	r.Removed = true
	report, id := s.reports[uid], s.reportID
	told := report.Status.Gone && report.Term == r.Active.Term
	err := s.update(ctx, func(tx *bolt.Tx) error {
		if !told {
			var m plan.Memory
			if err := getJSON(tx.Bucket(bucketMemories), []byte(uid), &m); err != nil {
				return err
			}
			id++
			report = feed.Report{ID: id, UID: uid, Term: r.Active.Term, Status: goneStatus(m, r.Active.Term)}
			if err := putReport(tx, report); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketMemories).Delete([]byte(uid)); err != nil {
			return err
		}

		return put(tx.Bucket(bucketRows), []byte(uid), marshal(r))
	})
	if err != nil {
		return fmt.Errorf("remove %s: %w", uid, err)
	}
	s.rows[uid], s.reports[uid], s.reportID = r, report, id

	return nil
}

func goneStatus(m plan.Memory, term int32) flink.Status {
	return flink.Status{
		State: flink.Deleting, Term: term, Run: m.LastRun, Snapshot: m.Snapshot,
		Message: "Deleted; nothing of it is left here", Gone: true,
	}
}

// PutReport keeps a status until the hub has it on disk, and returns it as kept. It is durable when it returns. A status
// that says the same as the one kept is not written again.
func (s *Store) PutReport(ctx context.Context, uid string, st flink.Status) (feed.Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.reports[uid]; ok && old.Status.Equal(st) && old.Term == st.Term {
		return old, nil
	}
	r := feed.Report{ID: s.reportID + 1, UID: uid, Term: st.Term, Status: st}
	if err := s.update(ctx, func(tx *bolt.Tx) error { return putReport(tx, r) }); err != nil {
		return feed.Report{}, fmt.Errorf("keep report of %s: %w", uid, err)
	}
	s.reports[uid], s.reportID = r, r.ID

	return r, nil
}

func putReport(tx *bolt.Tx, r feed.Report) error {
	if err := put(tx.Bucket(bucketMeta), keyReportID, marshal(r.ID)); err != nil {
		return err
	}

	return put(tx.Bucket(bucketReports), []byte(r.UID), marshal(r))
}

// Reports are the statuses that the hub is not known to have on disk, in the order in which they were kept: at most one a job.
func (s *Store) Reports() []feed.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]feed.Report, 0, len(s.reports))
	for _, r := range s.reports {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b feed.Report) int { return int(a.ID) - int(b.ID) })

	return out
}

// Settle forgets reports that the hub has on disk, unless a later one of the same job took their place. A job that was
// reported gone is forgotten with everything on record, unless a later order brought it back; those are returned.
func (s *Store) Settle(ctx context.Context, done []feed.Report) (forgotten []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var settled []string
	for _, r := range done {
		if kept, ok := s.reports[r.UID]; !ok || kept.ID != r.ID {
			continue
		}
		settled = append(settled, r.UID)
		row, ok := s.rows[r.UID]
		if r.Status.Gone && ok && row.Deleted && row.Term == r.Term {
			forgotten = append(forgotten, r.UID)
		}
	}
	if len(settled) == 0 {
		return nil, nil
	}
	err = s.update(ctx, func(tx *bolt.Tx) error {
		for _, uid := range settled {
			if err := tx.Bucket(bucketReports).Delete([]byte(uid)); err != nil {
				return err
			}
		}
		for _, uid := range forgotten {
			for _, name := range [][]byte{bucketRows, bucketBodies, bucketMemories} {
				if err := tx.Bucket(name).Delete([]byte(uid)); err != nil {
					return err
				}
			}
		}

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("settle reports: %w", err)
	}
	for _, uid := range settled {
		delete(s.reports, uid)
	}
	for _, uid := range forgotten {
		delete(s.rows, uid) // a tombstone: not in the tree
	}

	return forgotten, nil
}
