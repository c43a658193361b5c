package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits of what is on disk only.
const (
	maxSpans   = 4096
	maxSpecs   = 50
	maxAudit   = 1_000_000
	stubsStand = 180 * 24 * time.Hour
)

// rowsDB is rows.db: the rows as of head, and what memory does not hold.
type rowsDB struct {
	db   *bbolt.DB
	head Revision // guarded by Store.moving once Open is done
}

func openRows(db *bbolt.DB) (*rowsDB, error) {
	r := &rowsDB{db: db}
	err := db.View(func(tx *bbolt.Tx) error {
		r.head = fromBE8[Revision](tx.Bucket([]byte(bucketMeta)).Get([]byte(metaHead)))
		return nil
	})
	return r, err
}

// load gives every row of the tables that memory holds.
func (r *rowsDB) load(each func(Row) error) error {
	return r.db.View(func(tx *bbolt.Tx) error {
		for _, table := range memoryTables {
			b := tx.Bucket([]byte(bucketRows)).Bucket([]byte(table))
			if b == nil {
				continue // nothing was ever in it
			}
			err := b.ForEach(func(k, v []byte) error {
				rev, row, err := decodeRow(v)
				if err == nil && (row.Table != table || row.Key != string(k)) {
					err = fmt.Errorf("stands in the place of %s %q", row.Table, row.Key)
				}
				if err == nil && rev > r.head {
					err = fmt.Errorf("revision %d is after the file's head %d", rev, r.head)
				}
				if err == nil {
					err = each(row)
				}
				if err != nil {
					return fmt.Errorf("%s %q: %w", table, k, err)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// move brings records over, in order, in one transaction with the head: the file is then the state at the last of them.
func (r *rowsDB) move(records []Record) error {
	type newest struct {
		Row
		rev Revision
	}
	rows := map[[2]string]newest{}
	head := r.head
	err := update(r.db, func(w *writing) error {
		for _, rec := range records {
			for _, row := range rec.Rows {
				if err := moveToDisk(w, rec.Revision, row); err != nil {
					return fmt.Errorf("revision %d: %w", rec.Revision, err)
				}
				if slices.Contains(memoryTables, row.Table) {
					rows[[2]string{row.Table, row.Key}] = newest{row, rec.Revision}
				}
			}
			head = rec.Revision
		}
		sorted := make([]newest, 0, len(rows))
		for _, n := range rows {
			sorted = append(sorted, n)
		}
		slices.SortFunc(sorted, func(a, b newest) int {
			return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
		})
		for _, n := range sorted {
			b, err := w.bucket(bucketRows).create(n.Table)
			if err != nil {
				return err
			}
			if n.Deleted {
				err = b.delete([]byte(n.Key))
			} else {
				err = b.put([]byte(n.Key), encodeRow(n.rev, n.Row))
			}
			if err != nil {
				return err
			}
		}
		return w.bucket(bucketMeta).put([]byte(metaHead), be8(head))
	})
	if err != nil {
		return err
	}
	r.head = head
	return nil
}

// moveToDisk keeps of a row what memory does not: audit, stubs, the history of specs.
func moveToDisk(w *writing, rev Revision, row Row) error {
	switch row.Table {
	case tableAudit:
		b := w.bucket(bucketAudit)
		b.raw.FillPercent = 1
		if k := b.first(); k != nil && fromBE8[Revision](k) <= rev-maxAudit {
			if err := b.delete(k); err != nil {
				return err
			}
		}
		return b.put(be8(rev), encodeRow(rev, row))
	case tableStubs:
		return w.bucket(bucketStubs).put([]byte(row.Key), encodeRow(rev, row))
	case tableJobs:
		return moveSpec(w.bucket(bucketHistory), rev, row)
	}
	return nil
}

func moveSpec(history *bucket, rev Revision, row Row) error {
	if row.Deleted {
		return history.drop(row.Key)
	}
	var j Job
	if err := json.Unmarshal(row.Header, &j); err != nil {
		return fmt.Errorf("job %s: %w", row.Key, err)
	}
	b, err := history.create(row.Key)
	if err != nil {
		return err
	}
	if k := b.first(); k != nil && fromBE8[int64](k) <= int64(j.Generation)-maxSpecs {
		if err := b.delete(k); err != nil {
			return err
		}
	}
	generation := be8(int64(j.Generation))
	if old := b.raw.Get(generation); old != nil {
		return nil // the spec of a generation never changes, and its time is when it came
	}
	return b.put(generation, encodeRow(rev, row))
}

// expire drops stubs that stood long enough.
func (r *rowsDB) expire(now time.Time) error {
	return update(r.db, func(w *writing) error {
		b := w.bucket(bucketStubs)
		var old [][]byte
		err := b.raw.ForEach(func(k, v []byte) error {
			s, err := decodeStub(v)
			if err == nil && now.Sub(s.At) > stubsStand {
				old = append(old, bytes.Clone(k))
			}
			return err
		})
		for _, k := range old {
			err = errors.Join(err, b.delete(k))
		}
		return err
	})
}

func decodeStub(b []byte) (s stub, err error) {
	_, row, err := decodeRow(b)
	if err == nil {
		err = json.Unmarshal(row.Header, &s)
	}
	return s, err
}

func (r *rowsDB) spans() (spans []Span, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketEpochs)).ForEach(func(k, v []byte) error {
			payload, err := unframe(v)
			if err != nil {
				return fmt.Errorf("epoch %d: %w", fromBE8[int64](k), err)
			}
			var s Span
			if err := json.Unmarshal(payload, &s); err != nil {
				return fmt.Errorf("epoch %d: %w", fromBE8[int64](k), err)
			}
			spans = append(spans, s)
			return nil
		})
	})
	return spans, err
}

// putSpans replaces the ancestry's end: the span that ended, if any, and the one that begins.
func (r *rowsDB) putSpans(spans ...Span) error {
	return update(r.db, func(w *writing) error {
		b := w.bucket(bucketEpochs)
		for _, s := range spans {
			payload, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if err := b.put(be8(s.Epoch.Number), frame(payload)); err != nil {
				return err
			}
		}
		for b.raw.Inspect().KeyN > maxSpans {
			if err := b.delete(b.first()); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadObserved gives every status kept.
func (r *rowsDB) loadObserved(each func(StatusRow)) error {
	return r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketObserved)).ForEach(func(k, v []byte) error {
			payload, err := unframe(v)
			var row StatusRow
			if err == nil {
				err = json.Unmarshal(payload, &row)
			}
			if err != nil {
				return fmt.Errorf("status of %s: %w", k, err)
			}
			each(row)
			return nil
		})
	})
}

// putObserved writes statuses; nil drops one.
func (r *rowsDB) putObserved(rows map[string]*StatusRow) error {
	return update(r.db, func(w *writing) error {
		b := w.bucket(bucketObserved)
		for uid, row := range rows {
			if row == nil {
				if err := b.delete([]byte(uid)); err != nil {
					return err
				}
				continue
			}
			payload, err := json.Marshal(row)
			if err != nil {
				return fmt.Errorf("status of %s: %w", uid, err)
			}
			if err := b.put([]byte(uid), frame(payload)); err != nil {
				return err
			}
		}
		return nil
	})
}

// decodeValue makes of a stored row what memory holds.
func decodeValue(r Row) (any, error) {
	switch r.Table {
	case tableTenants:
		return decodeHeader[Tenant](r)
	case tableAdmins:
		return decodeHeader[Admin](r)
	case tableClusters:
		return decodeHeader[Cluster](r)
	case tableTokens:
		return decodeHeader[Token](r)
	case tableJobs:
		return decodeHeader[Job](r)
	case tableAssignments:
		return decodeHeader[flink.Assignment](r)
	case tableOrders:
		v := &FeedRow{}
		if err := json.Unmarshal(r.Header, v); err != nil {
			return nil, err
		}
		v.Body = r.Body
		return v, nil
	}
	return nil, fmt.Errorf("table %q is not known", r.Table)
}

func decodeHeader[T any](r Row) (any, error) {
	var v T
	err := json.Unmarshal(r.Header, &v)
	return v, err
}
