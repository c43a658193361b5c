package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"go.etcd.io/bbolt"
)

// Log is the seam to what makes writes durable: here a bbolt file, for a hub of many replicas something replicated.
type Log interface {
	// Load gives every record after a revision, in order, until each returns an error.
	Load(ctx context.Context, after Revision, each func(Record) error) error
	// Append makes records durable if the log's head is after, all or none. An error means that they may be durable.
	Append(ctx context.Context, after Revision, records []Record) (Revision, error)
	// Follow gives the records after a revision and then those to come, until ctx ends.
	Follow(ctx context.Context, after Revision) iter.Seq2[Record, error]
	// Trim drops the records up to a revision, but never the last.
	Trim(ctx context.Context, upTo Revision) error
	Close() error
}

// errMoved: somebody else appended.
var errMoved = errors.New("the log's head has moved")

// boltLog is a Log in a bbolt file of its own.
type boltLog struct {
	db *bbolt.DB

	mu      sync.Mutex    // guards the two below
	head    Revision      // newest record
	changed chan struct{} // closed by the next append
}

// openLog gives the log in an open file; its records are checked by whoever loads them.
func openLog(db *bbolt.DB) (*boltLog, error) {
	l := &boltLog{db: db, changed: make(chan struct{})}
	err := db.View(func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket([]byte(bucketLog)).Cursor().Last()
		l.head = fromBE8[Revision](k)
		return nil
	})
	return l, err
}

func (l *boltLog) Load(ctx context.Context, after Revision, each func(Record) error) error {
	for {
		// Small read transactions: a long one would keep the pages of everything that is trimmed meanwhile.
		batch, err := l.read(after, 256)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, r := range batch {
			if err := errors.Join(ctx.Err(), each(r)); err != nil {
				return err
			}
		}
		after = batch[len(batch)-1].Revision
	}
}

func (l *boltLog) read(after Revision, n int) (batch []Record, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketLog)).Cursor()
		last := Revision(0)
		for k, v := c.Seek(be8(after + 1)); k != nil && len(batch) < n; k, v = c.Next() {
			rev := fromBE8[Revision](k)
			r, err := decodeRecord(v)
			switch {
			case err != nil:
				return fmt.Errorf("revision %d: %w", rev, err)
			case r.Revision != rev:
				return fmt.Errorf("revision %d stands in the place of %d", r.Revision, rev)
			case last != 0 && rev != last+1:
				return fmt.Errorf("revisions %d to %d are missing", last+1, rev-1)
			}
			last = rev
			batch = append(batch, r)
		}
		return nil
	})
	return batch, err
}

func (l *boltLog) Append(_ context.Context, after Revision, records []Record) (Revision, error) {
	head := after
	err := update(l.db, func(w *writing) error {
		b := w.bucket(bucketLog)
		b.raw.FillPercent = 1 // only ever appended
		if k, _ := b.raw.Cursor().Last(); fromBE8[Revision](k) != after {
			return fmt.Errorf("%w: %d, not %d", errMoved, fromBE8[Revision](k), after)
		}
		for _, r := range records {
			if head++; r.Revision != head {
				return fmt.Errorf("revision %d cannot follow %d", r.Revision, head-1)
			}
			if err := b.put(be8(head), r.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return after, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = head
	close(l.changed)
	l.changed = make(chan struct{})
	return head, nil
}

func (l *boltLog) Follow(ctx context.Context, after Revision) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for ctx.Err() == nil {
			l.mu.Lock()
			changed := l.changed
			l.mu.Unlock()
			batch, err := l.read(after, 256)
			if err == nil && len(batch) > 0 && batch[0].Revision != after+1 {
				err = fmt.Errorf("%w: %d", ErrTrimmed, after+1)
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range batch {
				if !yield(r, nil) {
					return
				}
				after = r.Revision
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// trimBatch bounds how long a trim keeps the committer waiting.
const trimBatch = 1000

func (l *boltLog) Trim(ctx context.Context, upTo Revision) error {
	l.mu.Lock()
	upTo = min(upTo, l.head-1) // the last one stays: it tells the head, and the hash that the next audit record follows
	l.mu.Unlock()
	for ctx.Err() == nil {
		n := 0
		err := update(l.db, func(w *writing) error {
			b := w.bucket(bucketLog)
			for k := b.first(); k != nil && fromBE8[Revision](k) <= upTo && n < trimBatch; k = b.first() {
				if err := b.delete(k); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n < trimBatch {
			return err
		}
	}
	return ctx.Err()
}

func (l *boltLog) Close() error { return l.db.Close() }
