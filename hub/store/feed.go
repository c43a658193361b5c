package store

import (
	"cmp"
	"slices"
	"time"
)

// feed is one cluster's orders in revision order, one place each: its newest revision. So it compacts itself, and 500
// edits of one job are one row. Written by the committer, under Store.mu.
type feed struct {
	places []place // by revision; a superseded place is a hole, row nil
	at     map[string]Revision
	holes  int
	live   int // rows that are no tombstones
	head   Revision
	told   time.Time // when head became visible
}

type place struct {
	rev Revision
	row *FeedRow
}

// set moves an order to a newer revision; row nil drops it.
func (f *feed) set(uid string, row *FeedRow) {
	if f.at == nil {
		f.at = map[string]Revision{}
	}
	if old, ok := f.at[uid]; ok {
		i := f.find(old)
		for f.places[i].row == nil || f.places[i].row.UID != uid {
			i++ // rows of one write share its revision
		}
		if !f.places[i].row.Deleted {
			f.live--
		}
		f.places[i].row = nil
		f.holes++
		delete(f.at, uid)
	}
	if row != nil {
		f.places = append(f.places, place{row.Version.Revision, row})
		f.at[uid] = row.Version.Revision
		f.head = row.Version.Revision
		if !row.Deleted {
			f.live++
		}
	}
	if f.holes > 32 && f.holes > len(f.places)/2 {
		f.places = slices.DeleteFunc(f.places, func(p place) bool { return p.row == nil })
		f.holes = 0
	}
}

// find is the first place at rev or later.
func (f *feed) find(rev Revision) int {
	i, _ := slices.BinarySearchFunc(f.places, rev, func(p place, r Revision) int { return cmp.Compare(p.rev, r) })
	return i
}

// since takes whole writes after a revision until maxBytes are full, at least one. done: nothing is left after them.
func (f *feed) since(after Revision, maxBytes int, liveOnly bool) (rows []FeedRow, upTo Revision, done bool) {
	upTo = after
	size := 0
	for i := f.find(after + 1); i < len(f.places); {
		var write []FeedRow
		bytes, rev := 0, f.places[i].rev
		for ; i < len(f.places) && f.places[i].rev == rev; i++ {
			if r := f.places[i].row; r != nil && !(liveOnly && r.Deleted) {
				write = append(write, *r)
				bytes += len(r.Body) + rowOverhead
			}
		}
		if len(rows) > 0 && len(write) > 0 && size+bytes > maxBytes {
			return rows, upTo, false
		}
		rows, size, upTo = append(rows, write...), size+bytes, rev
	}
	return rows, upTo, true
}

// rowOverhead is about what a row takes on the wire beside its body.
const rowOverhead = 160

// Feed gives the orders of one cluster with a revision after the given one, in revision order: about maxBytes of them,
// at least one. upTo is the revision up to which nothing is missing once these rows are recorded; it is the log's head
// when nothing is left. A write's rows are never split (see MaxFrameBytes), so more, which would say that the last write
// goes on in the next call, is false as long as that holds. liveOnly leaves tombstones out: for an agent that never
// recorded anything.
func (s *Store) Feed(clusterUID string, after Revision, maxBytes int, liveOnly bool) (rows []FeedRow, upTo Revision, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	head := s.view.Head()
	f, ok := s.feeds[clusterUID]
	if !ok {
		return nil, max(after, head), false
	}
	rows, upTo, done := f.since(after, maxBytes, liveOnly)
	if done {
		// Taken under the same lock as the rows: no write of this cluster lies between them and the head.
		upTo = max(upTo, head)
	}
	return rows, upTo, false
}

// FeedState tells the newest revision of the log, which is as far as a cursor can get, and how many live orders a cluster has.
func (s *Store) FeedState(clusterUID string) (head Revision, rows int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f, ok := s.feeds[clusterUID]; ok {
		rows = f.live
	}
	return s.view.Head(), rows
}

// Published is when the newest order of a cluster became visible: durable, and told to subscribers. Zero: none since the start.
func (s *Store) Published(clusterUID string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f, ok := s.feeds[clusterUID]; ok {
		return f.told
	}
	return time.Time{}
}

// Subscribe gives a channel of size one that is signalled after each commit that changed a cluster's feed or the
// cluster's own row. A signal says "look again"; several changes may be one. cancel must be called, once is enough.
func (s *Store) Subscribe(clusterUID string) (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribers[clusterUID] == nil {
		s.subscribers[clusterUID] = map[chan struct{}]struct{}{}
	}
	s.subscribers[clusterUID][ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers[clusterUID], ch)
		if len(s.subscribers[clusterUID]) == 0 {
			delete(s.subscribers, clusterUID)
		}
	}
}

// wake signals a cluster's subscribers; the caller holds mu.
func (s *Store) wake(clusterUID string) {
	for ch := range s.subscribers[clusterUID] {
		select {
		case ch <- struct{}{}:
		default: // it has a signal it did not take yet
		}
	}
}
