package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-memdb"
)

const (
	maxQueue = 1024    // writes that wait for their turn; more block in Write
	maxGroup = 512     // writes of one commit
	logLimit = 8 << 20 // bytes of log after which a checkpoint does not wait for its time
)

// request is one Write on its way through the committer.
type request struct {
	ctx   context.Context
	audit Audit
	fn    func(*Txn) error
	reply chan reply // size 1
}

type reply struct {
	rev Revision
	err error
}

// Write runs fn in the committer's turn, over the newest state and what was written before it in the same group. An
// error of fn aborts this write alone and is returned as it is. After nil the write is durable and visible. A fn that
// puts nothing takes no revision; the newest one is returned.
//
// ErrUnknown (wrapped) means that it may or may not have happened: the commit failed and the process is about to end, or
// ctx ended while it was under way. ErrNoSpace, ErrClosed: it did not happen. fn must be quick and must not call the
// store; it runs once at most. Write waits for Run.
func (s *Store) Write(ctx context.Context, a Audit, fn func(*Txn) error) (Revision, error) {
	if a.Who == "" || a.Verb == "" {
		return 0, errors.New("a write needs an audit record: who, and the verb")
	}
	r := request{ctx: ctx, audit: a, fn: fn, reply: make(chan reply, 1)}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.done:
		return 0, ErrClosed
	}
	select {
	case got := <-r.reply:
		return got.rev, got.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-s.done:
	}
	// The committer ended. It answered every request it took; this one it may have left in the queue.
	select {
	case got := <-r.reply:
		return got.rev, got.err
	default:
		return 0, ErrClosed
	}
}

// commits is the committer: the one goroutine that changes desired state.
func (s *Store) commits(ctx context.Context) error {
	defer close(s.done)
	for {
		// The end comes first: with both ready, select would choose either.
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case e := <-s.epochs:
			if err := s.advance(e); err != nil {
				return err
			}
		case r := <-s.requests:
			if err := s.commit(s.group(r)); err != nil {
				return err
			}
		}
	}
}

// group takes what has queued behind first, without waiting for more.
func (s *Store) group(first request) []request {
	group := []request{first}
	for len(group) < maxGroup {
		select {
		case r := <-s.requests:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

// batch is a group under way: the pending state, and what has to be done once it is durable.
type batch struct {
	db      *memdb.MemDB
	head    Revision
	chain   []byte
	records []Record
	feed    []feedChange
	touched []string
	gone    []string
	replies []reply // one per request
}

// commit runs a group: each fn over the pending state, one append, one publication, then the answers.
func (s *Store) commit(group []request) error {
	start := time.Now()
	if err := s.roomLeft(); err != nil {
		for _, r := range group {
			s.metrics.refused.Inc()
			r.reply <- reply{err: err}
		}
		return nil
	}
	b := &batch{db: s.db.Snapshot(), head: s.head, chain: s.chain}
	for _, r := range group {
		b.replies = append(b.replies, s.run(b, r))
	}
	var failed error
	if len(b.records) > 0 {
		s.step("commit")
		if _, err := s.log.Append(context.WithoutCancel(group[0].ctx), s.head, b.records); err != nil {
			failed = fmt.Errorf("commit revision %d: %w", b.head, err)
		} else {
			s.publish(b)
		}
		s.metrics.commit.Observe(time.Since(start).Seconds())
		s.metrics.group.Observe(float64(len(b.records)))
	}
	for i, r := range group {
		if failed != nil {
			// Also what fn said may rest on a write of this group, whose fate is unknown.
			b.replies[i] = reply{err: fmt.Errorf("%w: %w", ErrUnknown, failed)}
		}
		r.reply <- b.replies[i]
	}
	return failed
}

// run is one fn's turn.
func (s *Store) run(b *batch, r request) reply {
	if err := r.ctx.Err(); err != nil {
		return reply{err: err}
	}
	before := b.db.Snapshot()
	now := time.Now().UTC().Round(0)
	t := newTxn(b.db, b.head, s.epoch, now, s.mac)
	err := r.fn(t)
	if err == nil {
		err = t.err
	}
	if err != nil {
		t.open.Abort()
		b.db = before
		return reply{err: err}
	}
	t.open.Commit()
	if len(t.rows) == 0 {
		return reply{rev: b.head}
	}
	a := AuditRecord{Audit: r.audit, Revision: t.revision, Prev: b.chain}
	if a.At.IsZero() {
		a.At = now
	}
	a.Detail = cmp.Or(t.detail, a.Detail)
	header, err := json.Marshal(a)
	if err != nil {
		b.db = before
		return reply{err: fmt.Errorf("encode the audit record: %w", err)}
	}
	b.chain = link(header)
	b.head = t.revision
	b.records = append(b.records, Record{
		Revision: t.revision, Epoch: s.epoch.Number, At: now, Rows: append(t.rows, Row{Table: tableAudit, Header: header}),
	})
	b.feed, b.touched, b.gone = append(b.feed, t.feed...), append(b.touched, t.touched...), append(b.gone, t.gone...)
	return reply{rev: t.revision}
}

// link is the hash of an audit record, which the next one carries.
func link(header []byte) []byte {
	sum := sha256.Sum256(header)
	return sum[:]
}

// publish makes a durable group visible.
func (s *Store) publish(b *batch) {
	s.db, s.head, s.chain = b.db, b.head, b.chain
	dirty := map[string]bool{}
	for _, uid := range b.touched {
		dirty[uid] = true
	}
	now := time.Now()
	s.mu.Lock()
	s.view = viewOf(b.db, b.head, s.epoch)
	for _, c := range b.feed {
		f := s.feeds[c.cluster]
		if f == nil {
			f = &feed{}
			s.feeds[c.cluster] = f
		}
		f.set(c.uid, c.row)
		f.told = now
		dirty[c.cluster] = true
	}
	for uid := range dirty {
		s.wake(uid)
	}
	s.mu.Unlock()
	s.observed.forget(b.gone)
	size := 0
	for _, r := range b.records {
		for _, row := range r.Rows {
			size += len(row.Header) + len(row.Body)
		}
	}
	s.metrics.logBytes.Add(float64(size))
	if s.logged.Add(int64(size)) > logLimit {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// roomLeft refuses before the disk is full: a commit that runs into the end of the disk has an unknown outcome.
func (s *Store) roomLeft() error {
	free, err := s.free(s.dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if free < s.minFree {
		return fmt.Errorf("%w: %d MiB free in %s, %d MiB needed", ErrNoSpace, free>>20, s.dir, s.minFree>>20)
	}
	return nil
}
