package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// writeBehind is how long a status that can be asked again stays in memory only.
const writeBehind = time.Second

// observed is the newest that agents said, one row per job. It has no revisions.
type observed struct {
	mu    sync.Mutex // guards rows and dirty
	rows  map[string]StatusRow
	dirty map[string]struct{} // on disk otherwise, or still there

	flushes chan chan error // callers that wait for the disk
}

func newObserved() *observed {
	return &observed{rows: map[string]StatusRow{}, dirty: map[string]struct{}{}, flushes: make(chan chan error)}
}

// PutStatuses takes what a cluster's agent said about its jobs. durable: it is on disk before this returns nil. A status
// of a job that the cluster has no order for, of a later term than its order, or of a lower term than the one kept, is
// dropped without an error: no agent can speak for another's jobs. A row without a nack leaves the nack as it is.
// ErrUnknown: it is taken, and may not be on disk.
func (s *Store) PutStatuses(ctx context.Context, clusterUID string, rows []StatusRow, durable bool) error {
	s.observed.mu.Lock()
	view := s.View() // under the lock: a job that is gone by then is dropped here, one that goes later is forgotten later
	for _, r := range rows {
		r.ClusterUID, r.Term = clusterUID, max(r.Term, r.Status.Term)
		if r.ReceivedAt.IsZero() {
			r.ReceivedAt = time.Now().UTC().Round(0)
		}
		s.observed.put(view, r)
	}
	s.observed.mu.Unlock()
	if !durable || len(rows) == 0 {
		return nil
	}
	return s.flushed(ctx)
}

// PutNacks takes the refusals of a cluster's agent, by job uid. One without a code takes an earlier one back.
func (s *Store) PutNacks(_ context.Context, clusterUID string, nacks map[string]Nack) error {
	s.observed.mu.Lock()
	defer s.observed.mu.Unlock()
	view := s.View()
	for uid, n := range nacks {
		order, ok := view.Order(clusterUID, uid)
		kept := s.observed.rows[uid]
		if !ok || order.Term < kept.Term || n.Code != "" && n.Version != order.Version {
			continue // about a row that is no longer the newest, or not this cluster's
		}
		if kept.ClusterUID != clusterUID {
			kept = StatusRow{JobUID: uid, ClusterUID: clusterUID, Term: order.Term}
		}
		kept.Nack = nil
		if n.Code != "" {
			kept.Nack = &n
		}
		s.observed.rows[uid] = kept
		s.observed.dirty[uid] = struct{}{}
	}
	return nil
}

// Status is the newest that is known of a job. Its nack is the one of the order that stands now.
func (s *Store) Status(jobUID string) (StatusRow, bool) {
	s.observed.mu.Lock()
	row, ok := s.observed.rows[jobUID]
	s.observed.mu.Unlock()
	if row.Nack != nil {
		if order, found := s.View().Order(row.ClusterUID, jobUID); !found || order.Version != row.Nack.Version {
			row.Nack = nil
		}
	}
	return row, ok
}

// put keeps a row if it may be said; the caller holds mu.
func (o *observed) put(view View, r StatusRow) {
	order, ok := view.Order(r.ClusterUID, r.JobUID)
	kept, known := o.rows[r.JobUID]
	if !ok || r.Term > order.Term || known && r.Term < kept.Term {
		return
	}
	if r.Nack == nil && kept.ClusterUID == r.ClusterUID {
		r.Nack = kept.Nack
	}
	o.rows[r.JobUID] = r
	o.dirty[r.JobUID] = struct{}{}
}

// forget drops what was said of jobs that no longer exist.
func (o *observed) forget(uids []string) {
	if len(uids) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, uid := range uids {
		delete(o.rows, uid)
		o.dirty[uid] = struct{}{}
	}
}

// flushed waits until everything that is in memory now is on disk.
func (s *Store) flushed(ctx context.Context) error {
	wait := make(chan error, 1)
	select {
	case s.observed.flushes <- wait:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-s.done:
		return ErrClosed
	}
	select {
	case err := <-wait:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// writes is the writer of statuses: at once for whoever waits, together for all that queued; else behind.
func (s *Store) writes(ctx context.Context) error {
	tick := time.NewTicker(writeBehind)
	defer tick.Stop()
	for {
		var waiting []chan error
		select {
		case <-ctx.Done():
			return nil // Run flushes what is left, once nobody writes any more
		case <-tick.C:
		case first := <-s.observed.flushes:
			waiting = s.observed.waiting(first)
		}
		refused := s.roomLeft()
		var failed error
		if refused == nil {
			failed = s.flush()
		}
		for _, w := range waiting {
			switch {
			case failed != nil:
				w <- fmt.Errorf("%w: %w", ErrUnknown, failed)
			default:
				w <- refused
			}
		}
		if failed != nil {
			return failed
		}
	}
}

func (o *observed) waiting(first chan error) []chan error {
	out := []chan error{first}
	for len(out) < maxGroup {
		select {
		case w := <-o.flushes:
			out = append(out, w)
		default:
			return out
		}
	}
	return out
}

// flush writes all statuses that changed since the last one.
func (s *Store) flush() error {
	o := s.observed
	o.mu.Lock()
	rows := make(map[string]*StatusRow, len(o.dirty))
	for uid := range o.dirty {
		rows[uid] = nil
		if r, ok := o.rows[uid]; ok {
			rows[uid] = &r
		}
	}
	o.dirty = map[string]struct{}{}
	o.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	s.step("write statuses")
	if err := s.rows.putObserved(rows); err != nil {
		return fmt.Errorf("write %d statuses: %w", len(rows), err)
	}
	s.metrics.statuses.Add(float64(len(rows)))
	return nil
}
