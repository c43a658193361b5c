package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// AuditTail gives the last n audit records, oldest first, from disk. It checks the chain between them: a record that was
// changed or taken out makes it fail.
func (s *Store) AuditTail(n int) ([]AuditRecord, error) {
	if n <= 0 {
		return nil, nil
	}
	rows := map[Revision]Row{}
	// The log first: what leaves it meanwhile is in the rows by then.
	err := s.log.Load(context.Background(), 0, func(r Record) error {
		for _, row := range r.Rows {
			if row.Table == tableAudit {
				rows[r.Revision] = row
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	err = s.rows.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketAudit)).Cursor()
		k, v := c.Last()
		for i := 0; k != nil && i < n; i++ {
			rev, row, err := decodeRow(v)
			if err != nil {
				return fmt.Errorf("audit record %d: %w", fromBE8[Revision](k), err)
			}
			rows[rev] = row
			k, v = c.Prev()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	revs := make([]Revision, 0, len(rows))
	for rev := range rows {
		revs = append(revs, rev)
	}
	slices.Sort(revs)
	return chained(rows, revs[max(0, len(revs)-n):])
}

func chained(rows map[Revision]Row, revs []Revision) ([]AuditRecord, error) {
	var out []AuditRecord
	var prev []byte
	for i, rev := range revs {
		var a AuditRecord
		if err := json.Unmarshal(rows[rev].Header, &a); err != nil {
			return nil, fmt.Errorf("audit record %d: %w", rev, err)
		}
		if i > 0 && !bytes.Equal(a.Prev, prev) {
			return nil, fmt.Errorf("audit record %d does not follow the one before it", rev)
		}
		prev = link(rows[rev].Header)
		out = append(out, a)
	}
	return out, nil
}

// SpecHistory gives the last 50 specs of a job, oldest first, from disk; none once the job is gone.
func (s *Store) SpecHistory(jobUID string) ([]SpecVersion, error) {
	specs := map[int32]SpecVersion{}
	deleted := false
	err := s.log.Load(context.Background(), 0, func(r Record) error {
		for _, row := range r.Rows {
			if row.Table != tableJobs || row.Key != jobUID {
				continue
			}
			if deleted = row.Deleted; deleted {
				continue
			}
			if err := addSpec(specs, row, false); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || deleted {
		return nil, err
	}
	err = s.rows.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketHistory)).Bucket([]byte(jobUID))
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, v []byte) error {
			_, row, err := decodeRow(v)
			return errors.Join(err, addSpec(specs, row, true))
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]SpecVersion, 0, len(specs))
	for _, v := range specs {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b SpecVersion) int { return int(a.Generation - b.Generation) })
	return out[max(0, len(out)-maxSpecs):], nil
}

// addSpec adds a job row's spec unless its generation is there; earlier takes its place.
func addSpec(specs map[int32]SpecVersion, row Row, earlier bool) error {
	var j Job
	if err := json.Unmarshal(row.Header, &j); err != nil {
		return fmt.Errorf("job %s: %w", row.Key, err)
	}
	if _, ok := specs[j.Generation]; !ok || earlier {
		specs[j.Generation] = SpecVersion{Generation: j.Generation, At: j.UpdatedAt, Spec: j.Spec}
	}
	return nil
}

// Stub tells which version a dropped order had, for 180 days.
func (s *Store) Stub(clusterUID, uid string) (v Version, ok bool, err error) {
	var logged stub
	at := Revision(0)
	// The log first: what leaves it meanwhile is in the rows by then.
	err = s.log.Load(context.Background(), 0, func(r Record) error {
		for _, row := range r.Rows {
			if row.Table != tableStubs || row.Key != key(clusterUID, uid) {
				continue
			}
			if err := json.Unmarshal(row.Header, &logged); err != nil {
				return fmt.Errorf("stub of %s: %w", uid, err)
			}
			at = r.Revision
		}
		return nil
	})
	if err != nil {
		return Version{}, false, err
	}
	err = s.rows.db.View(func(tx *bbolt.Tx) error {
		if at > fromBE8[Revision](tx.Bucket([]byte(bucketMeta)).Get([]byte(metaHead))) {
			v, ok = logged.Version, true
			return nil
		}
		b := tx.Bucket([]byte(bucketStubs)).Get([]byte(key(clusterUID, uid)))
		if b == nil {
			return nil
		}
		st, err := decodeStub(b)
		v, ok = st.Version, err == nil
		return err
	})
	return v, ok, err
}
