package records

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

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
func (s *Store) Jobs(ctx context.Context) ([]string, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var uids []string
	for uid, j := range s.jobs {
		if j.known() {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)

	return uids, nil
}

// Load returns the record of a job; false when there is none, or the job is gone. A job whose record is in doubt is an error.
func (s *Store) Load(ctx context.Context, uid string) (Record, bool, error) {
	if err := s.enter(ctx, uid); err != nil {
		return Record{}, false, err
	}
	defer s.gate.RUnlock()
	j := s.job(uid)
	if !j.known() {
		return Record{}, false, nil
	}
	rec := Record{Order: flink.Order{UID: uid}}
	a := j.Row.Active
	if a.HasBody {
		var err error
		if rec.Order, err = s.order(uid, j.Body); err != nil {
			return Record{}, false, fmt.Errorf("load job %s: decode order: %w", uid, err)
		}
	}
	if j.Memory != nil {
		if err := json.Unmarshal(j.Memory, &rec.Memory); err != nil {
			return Record{}, false, fmt.Errorf("load job %s: decode memory: %w", uid, err)
		}
	}
	// The row's own fields win: a tombstone carries no body, the body of the last order stands under it.
	rec.Order.Generation, rec.Order.Term = a.Generation, a.Term
	rec.Order.Deleted, rec.Order.Policy = a.Deleted, a.Policy

	return rec, true, nil
}

// decoded is an order and the very bytes that it was read from.
type decoded struct {
	body  []byte
	order flink.Order
}

// order reads the body of a job's order, once as long as the body is the same one.
func (s *Store) order(uid string, body []byte) (flink.Order, error) {
	s.mu.Lock()
	d, ok := s.orders[uid]
	s.mu.Unlock()
	if !ok || len(body) == 0 || len(d.body) != len(body) || &d.body[0] != &body[0] {
		o, err := s.o.Decode(slices.Clone(body))
		if err != nil {
			return flink.Order{}, err
		}
		d = decoded{body: body, order: o}
		s.mu.Lock()
		if _, known := s.jobs[uid]; known {
			s.orders[uid] = d
		}
		s.mu.Unlock()
	}
	o := d.order
	o.Labels, o.Spec = maps.Clone(o.Labels), o.Spec.Clone()

	return o, nil
}

// SaveMemory puts the memory on record; one that differs only by newer checkpoints may follow later, where Options.Later
// says so. ErrUnknownJob if the job is not on record.
func (s *Store) SaveMemory(ctx context.Context, uid string, m plan.Memory) error {
	return s.keepMemory(ctx, uid, m, false)
}

// NoteMemory keeps a memory that may be lost with the agent: Load returns it, and it is on record with whatever of the job is
// put on record next, where Options.Later allows that; elsewhere it is when NoteMemory returns. ErrUnknownJob if the job
// is not on record.
func (s *Store) NoteMemory(ctx context.Context, uid string, m plan.Memory) error {
	return s.keepMemory(ctx, uid, m, true)
}

func (s *Store) keepMemory(ctx context.Context, uid string, m plan.Memory, losable bool) error {
	done, err := s.begin(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	old := s.job(uid)
	if !old.known() {
		return fmt.Errorf("keep memory of %s: %w", uid, ErrUnknownJob)
	}
	j := old
	j.Memory = Marshal(m)
	if s.o.Later != nil && old.Memory != nil && (losable || newer(old.Memory, j.Memory)) {
		s.mu.Lock()
		s.jobs[uid], s.unsaved[uid] = j, true
		s.mu.Unlock()
		s.o.Later(uid)

		return nil
	}

	return s.commit(ctx, Change{Edits: []Edit{{UID: uid, Old: old, New: j}}})
}

// Flush has the backend put a job on record as it stands, with all that waited. A job that is not there is no error.
func (s *Store) Flush(ctx context.Context, uid string) error {
	done, err := s.begin(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	j := s.job(uid)
	if j.IsZero() {
		return nil
	}

	return s.commit(ctx, Change{Edits: []Edit{{UID: uid, Old: j, New: j}}})
}

// Remove says that nothing of a deleted job is left here. The job is no longer listed, its memory goes, and in the same
// commit the report is written that tells the hub. The row itself goes when the hub has that report on disk (Settle).
// Removing a job that is not deleted is an error; removing one twice, or an unknown one, changes nothing.
func (s *Store) Remove(ctx context.Context, uid string) error {
	done, err := s.begin(ctx, uid)
	if err != nil {
		return fmt.Errorf("remove %s: %w", uid, err)
	}
	defer done()
	old := s.job(uid)
	switch {
	case old.Row == nil || old.Row.Removed:
		return nil
	case old.Row.Active == nil || !old.Row.Active.Deleted:
		return fmt.Errorf("remove %s: there is no tombstone for it", uid)
	}
	j := Job{Row: new(*old.Row), Body: old.Body, Report: old.Report}
	j.Row.Removed = true
	var id uint64
	if term := j.Row.Active.Term; j.Report == nil || !j.Report.Status.Gone || j.Report.Term != term {
		var m plan.Memory
		if old.Memory != nil {
			if err := json.Unmarshal(old.Memory, &m); err != nil {
				return fmt.Errorf("remove %s: decode memory: %w", uid, err)
			}
		}
		id = s.nextReport()
		j.Report = &feed.Report{ID: id, UID: uid, Term: term, Status: goneStatus(m, term)}
	}
	if err := s.commit(ctx, Change{Edits: []Edit{{UID: uid, Old: old, New: j}}, ReportID: id}); err != nil {
		return fmt.Errorf("remove %s: %w", uid, err)
	}

	return nil
}

func goneStatus(m plan.Memory, term int32) flink.Status {
	return flink.Status{
		State: flink.Deleting, Term: term, Run: m.LastRun, Snapshot: m.Snapshot,
		Message: "Deleted; nothing of it is left here", Gone: true,
	}
}

// PutReport keeps a status until the hub has it on disk, and returns it as kept. It is on record when it returns. A status
// that says the same as the one kept is not written again.
func (s *Store) PutReport(ctx context.Context, uid string, st flink.Status) (feed.Report, error) {
	done, err := s.begin(ctx, uid)
	if err != nil {
		return feed.Report{}, fmt.Errorf("keep report of %s: %w", uid, err)
	}
	defer done()
	old := s.job(uid)
	if old.Report != nil && old.Report.Status.Equal(st) && old.Report.Term == st.Term {
		return *old.Report, nil
	}
	j := old
	j.Report = &feed.Report{ID: s.nextReport(), UID: uid, Term: st.Term, Status: st}
	if err := s.commit(ctx, Change{Edits: []Edit{{UID: uid, Old: old, New: j}}, ReportID: j.Report.ID}); err != nil {
		return feed.Report{}, fmt.Errorf("keep report of %s: %w", uid, err)
	}

	return *j.Report, nil
}

// certain are those of some reports whose job is not in doubt.
func (s *Store) certain(reports []feed.Report) []feed.Report {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.DeleteFunc(slices.Clone(reports), func(r feed.Report) bool { return s.doubts[r.UID] != nil })
}

// Settle forgets reports that the hub has on disk, unless a later one of the same job took their place. A job that was
// reported gone is forgotten with everything on record, unless a later order brought it back; those are returned. Reports
// of a job in doubt stay, and are handed in once more.
func (s *Store) Settle(ctx context.Context, reports []feed.Report) (forgotten []string, err error) {
	reports = s.certain(reports)
	uids := make([]string, len(reports))
	for i, r := range reports {
		uids[i] = r.UID
	}
	done, err := s.begin(ctx, uids...)
	if err != nil {
		return nil, fmt.Errorf("settle reports: %w", err)
	}
	defer done()
	var c Change
	for _, r := range reports {
		old := s.job(r.UID)
		if old.Report == nil || old.Report.ID != r.ID {
			continue
		}
		j := old
		j.Report = nil
		if r.Status.Gone && old.Row != nil && old.Row.Deleted && old.Row.Term == r.Term {
			forgotten = append(forgotten, r.UID)
			j = Job{}
		}
		c.Edits = append(c.Edits, Edit{UID: r.UID, Old: old, New: j})
	}
	if len(c.Edits) == 0 {
		return nil, nil
	}
	if err := s.commit(ctx, c); err != nil {
		return nil, fmt.Errorf("settle reports: %w", err)
	}

	return forgotten, nil
}
