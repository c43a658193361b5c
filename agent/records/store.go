package records

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

const (
	stripes    = 64               // writers of so many jobs go on beside each other
	loadAgain  = time.Second      // between tries to read everything again
	oneAgain   = 5 * time.Second  // the same for the sake of single jobs
	flushLimit = 10 * time.Second // for what is written at the end
)

// ErrUnknownJob is wrapped by errors about a uid that is not on record.
var ErrUnknownJob = errors.New("job is not on record")

// Options of New. Decode is required.
type Options struct {
	// Decode reads and validates the body of an order (schema 1). Its error is what the hub shows as the nack; one that
	// wraps wire.ErrUnknown says that the body is newer than this agent.
	Decode func(body []byte) (flink.Order, error)
	// Later is told of a job whose memory has only newer checkpoints in it than the one on record. Whoever is told calls
	// Flush for the job when it suits. nil: every memory is on record when SaveMemory returns.
	Later func(uid string)
	// Wake is told of jobs whose record was found changed when all was read again. nil: nobody is.
	Wake func(uids []string)
}

// Store is the view of everything on record. All methods may be called from any goroutine.
type Store struct {
	backend Backend
	o       Options

	gate    sync.RWMutex // held by every change; held alone while all is read again
	writing [stripes]sync.Mutex
	frames  sync.Mutex // one frame at a time

	mu       sync.Mutex // guards what follows
	jobs     map[string]Job
	orders   map[string]decoded // of jobs, as last read
	unsaved  map[string]bool    // jobs whose memory here is newer than the one on record
	mark     Mark
	reportID uint64
	tree     digest.Tree
	live     int
	doubt    error // why what is on record may not be what is here
	retryAt  time.Time
	doubts   map[string]error // the same of single jobs: they are here as they were, and neither served nor changed
	againAt  time.Time
}

// New reads everything that a backend has.
func New(ctx context.Context, b Backend, o Options) (*Store, error) {
	s := &Store{backend: b, o: o}
	c, err := b.Load(ctx)
	if err != nil {
		return nil, err
	}
	s.take(c)

	return s, nil
}

// take makes contents the view. The caller holds mu, or is alone.
func (s *Store) take(c Contents) {
	s.jobs, s.unsaved, s.tree, s.live = make(map[string]Job, len(c.Jobs)), map[string]bool{}, digest.Tree{}, 0
	s.orders = map[string]decoded{}
	s.mark, s.reportID, s.doubts = c.Mark, max(s.reportID, c.ReportID), c.Doubts
	for uid, j := range c.Jobs {
		s.replace(uid, j)
		if j.Report != nil {
			s.reportID = max(s.reportID, j.Report.ID)
		}
	}
}

// replace changes the view of one job. The caller holds mu.
func (s *Store) replace(uid string, j Job) {
	if old := s.jobs[uid].Row; old != nil && !old.Deleted {
		s.tree.Remove(old.digest(uid))
		s.live--
	}
	if j.Row != nil && !j.Row.Deleted {
		s.tree.Add(j.Row.digest(uid))
		s.live++
	}
	if j.IsZero() {
		delete(s.jobs, uid)
		delete(s.unsaved, uid)
		delete(s.orders, uid)

		return
	}
	s.jobs[uid] = j
}

// Close puts on record what is not yet, and closes the backend.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	s.mu.Lock()
	left := slices.Sorted(maps.Keys(s.unsaved))
	s.mu.Unlock()
	var errs []error
	for _, uid := range left {
		errs = append(errs, s.Flush(ctx, uid))
	}

	return errors.Join(append(errs, s.backend.Close())...)
}

// Doubt has everything read again before anything more is served: somebody else may have written.
func (s *Store) Doubt(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubt == nil {
		s.doubt, s.retryAt = why, time.Time{}
	}
}

// enter begins a use of the view that must not be in doubt, nor some of its jobs. The caller leaves with s.gate.RUnlock.
func (s *Store) enter(ctx context.Context, uids ...string) error {
	s.askAgain(uids)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.gate.RLock()
		s.mu.Lock()
		sure, one := s.doubt == nil, s.unsure(uids)
		s.mu.Unlock()
		if sure && one == nil {
			return nil
		}
		s.gate.RUnlock()
		if sure {
			return one
		}
		if err := s.reload(ctx); err != nil {
			return err
		}
	}
}

// unsure says that one of some jobs is in doubt. The caller holds mu.
func (s *Store) unsure(uids []string) error {
	for _, uid := range uids {
		if why := s.doubts[uid]; why != nil {
			return fmt.Errorf("record of job %s is in doubt: %w", uid, why)
		}
	}

	return nil
}

// askAgain has everything read again for the sake of jobs in doubt, now and then.
func (s *Store) askAgain(uids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unsure(uids); err != nil && s.doubt == nil && !time.Now().Before(s.againAt) {
		s.doubt, s.retryAt = err, time.Time{}
	}
}

// reload reads everything again, at most once in a while as long as it fails.
func (s *Store) reload(ctx context.Context) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	doubt, wait := s.doubt, time.Now().Before(s.retryAt)
	s.mu.Unlock()
	switch {
	case doubt == nil:
		return nil
	case wait:
		return fmt.Errorf("records are in doubt: %w", doubt)
	}
	c, err := s.backend.Load(ctx)
	s.mu.Lock()
	if err != nil {
		s.doubt, s.retryAt = err, time.Now().Add(loadAgain)
		s.mu.Unlock()

		return fmt.Errorf("read records again: %w", err)
	}
	changed := s.renew(c)
	s.doubt, s.againAt = nil, time.Now().Add(oneAgain)
	s.mu.Unlock()
	if len(changed) > 0 && s.o.Wake != nil {
		s.o.Wake(changed)
	}

	return nil
}

// renew takes contents that were read again and lists the jobs that are not as they were. A memory here that has only
// newer checkpoints than the one that was read stays, and so does all of a job in doubt.
func (s *Store) renew(c Contents) (changed []string) {
	old, unsaved, doubts := s.jobs, s.unsaved, s.doubts
	s.take(c)
	for uid := range doubts {
		if j, ok := s.jobs[uid]; ok && c.Doubts[uid] == nil && bytes.Equal(Marshal(j), Marshal(old[uid])) {
			changed = append(changed, uid) // it is as it was, which was not known
		}
	}
	for uid := range c.Doubts {
		if j, ok := old[uid]; ok {
			s.replace(uid, j)
			if unsaved[uid] {
				s.unsaved[uid] = true
			}
		}
	}
	for uid, j := range s.jobs {
		if c.Doubts[uid] != nil {
			continue
		}
		was := old[uid]
		if unsaved[uid] && newer(j.Memory, was.Memory) {
			j.Memory = was.Memory
			s.jobs[uid], s.unsaved[uid] = j, true
		}
		if !bytes.Equal(Marshal(j), Marshal(was)) {
			changed = append(changed, uid)
		}
	}
	for uid := range old {
		if _, ok := s.jobs[uid]; !ok {
			changed = append(changed, uid)
		}
	}
	slices.Sort(changed)

	return changed
}

// newer reports whether a memory differs from the older one only by newer checkpoints.
func newer(older, m []byte) bool {
	var a, b plan.Memory
	if json.Unmarshal(older, &a) != nil || json.Unmarshal(m, &b) != nil {
		return false
	}

	return b.OnlyNewerSnapshot(a)
}

// begin is enter for a writer of some jobs, who is the only one until done is called.
func (s *Store) begin(ctx context.Context, uids ...string) (done func(), err error) {
	if err := s.enter(ctx, uids...); err != nil {
		return nil, err
	}
	var mine [stripes]bool
	for _, uid := range uids {
		h := fnv.New32a()
		_, _ = h.Write([]byte(uid))
		mine[h.Sum32()%stripes] = true
	}
	for i := range mine {
		if mine[i] {
			s.writing[i].Lock()
		}
	}

	return func() {
		for i := range mine {
			if mine[i] {
				s.writing[i].Unlock()
			}
		}
		s.gate.RUnlock()
	}, nil
}

// job is the view of one job.
func (s *Store) job(uid string) Job {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.jobs[uid]
}

// commit puts a change on record, then into the view. The caller is the writer of its jobs.
func (s *Store) commit(ctx context.Context, c Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.backend.Commit(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.doubt == nil {
			s.doubt, s.retryAt = err, time.Time{}
		}

		return fmt.Errorf("write agent store: %w", err)
	}
	for _, e := range c.Edits {
		s.replace(e.UID, e.New)
		delete(s.unsaved, e.UID)
	}
	if c.Mark != nil {
		s.mark = *c.Mark
	}

	return nil
}

// nextReport gives out the id of a report.
func (s *Store) nextReport() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reportID++

	return s.reportID
}

// Reports are the statuses that the hub is not known to have on disk, in the order in which they were kept: at most one a job.
func (s *Store) Reports() []feed.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []feed.Report
	for _, j := range s.jobs {
		if j.Report != nil {
			out = append(out, *j.Report)
		}
	}
	slices.SortFunc(out, func(a, b feed.Report) int { return cmp.Compare(a.ID, b.ID) })

	return out
}
