package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// maxAhead is how far ahead of the clock a number from elsewhere is still believed.
const maxAhead = 24 * time.Hour

// nextEpoch is the number of an epoch that begins now: later than the last, than any seen elsewhere, and than the clock
// says, so that a hub restored from a backup is later than the history it lost even before anybody tells it so.
func nextEpoch(last, seen int64, now time.Time) (int64, error) {
	if limit := now.Add(maxAhead).Unix(); seen > limit {
		return 0, fmt.Errorf("%w: %d, and a day from now is %d; check the clocks", ErrEpochAhead, seen, limit)
	}
	return max(last, seen, now.Unix()) + 1, nil
}

// beginNext begins the epoch that follows the last.
func (s *Store) beginNext(seen int64) error {
	last := int64(0)
	if n := len(s.spans); n > 0 {
		last = s.spans[n-1].Epoch.Number
	}
	number, err := nextEpoch(last, seen, time.Now())
	if err != nil {
		return err
	}
	return s.begin(number)
}

// begin makes an epoch durable that starts after the store's head. Open and the committer alone call it.
func (s *Store) begin(number int64) error {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	head := s.head
	next := Span{Epoch: Epoch{Number: number, ID: hex.EncodeToString(id)}, First: head + 1, Last: head}
	write := []Span{next}
	spans := slices.Clone(s.spans)
	if n := len(spans); n > 0 {
		spans[n-1].Last = head
		write = []Span{spans[n-1], next}
	}
	if err := s.rows.putSpans(write...); err != nil {
		return fmt.Errorf("begin epoch %d: %w", number, err)
	}
	spans = append(spans, next)
	spans = spans[max(0, len(spans)-maxSpans):]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans, s.epoch = spans, next.Epoch
	s.view = viewOf(s.db, head, s.epoch)
	return nil
}

// Ancestry lists which epochs wrote which revisions, oldest first, the last 4,096. The current epoch is the last, up to
// the head.
func (s *Store) Ancestry() []Span {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := slices.Clone(s.spans)
	out[len(out)-1].Last = s.view.Head()
	return out
}

// epochRequest asks the committer for an epoch with a number above the given one.
type epochRequest struct {
	above int64
	reply chan epochReply // size 1
}

type epochReply struct {
	epoch Epoch
	err   error
}

// EpochAtLeast gives an epoch later than the number, which an agent has seen: the current one, or a new one that is
// durable before it is told. ErrEpochAhead: the number is more than a day ahead of the clock, nothing was done.
func (s *Store) EpochAtLeast(ctx context.Context, number int64) (Epoch, error) {
	r := epochRequest{above: number, reply: make(chan epochReply, 1)}
	select {
	case s.epochs <- r:
	case <-ctx.Done():
		return Epoch{}, ctx.Err()
	case <-s.done:
		return Epoch{}, ErrClosed
	}
	select {
	case reply := <-r.reply:
		return reply.epoch, reply.err
	case <-ctx.Done():
		return Epoch{}, ctx.Err()
	}
}

// advance answers one epochRequest; an error of its own means that the disk failed.
func (s *Store) advance(r epochRequest) error {
	if s.epoch.Number > r.above {
		r.reply <- epochReply{epoch: s.epoch}
		return nil
	}
	number, err := nextEpoch(s.epoch.Number, r.above, time.Now())
	if err != nil {
		r.reply <- epochReply{err: err}
		return nil //nolint:nilerr // the asker was told; the disk is well
	}
	if err := s.begin(number); err != nil {
		r.reply <- epochReply{err: fmt.Errorf("%w: %w", ErrUnknown, err)}
		return err
	}
	s.logger.Info("began a later epoch than an agent has seen", "epoch", number, "seen", r.above)
	r.reply <- epochReply{epoch: s.epoch}
	return nil
}
