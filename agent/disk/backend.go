package disk

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// file is the open file as the backend of records: each commit is one durable transaction.
type file struct {
	db   *bolt.DB
	site string
}

// Site implements records.Backend.
func (f file) Site() string { return f.site }

// Close implements records.Backend.
func (f file) Close() error {
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close agent store: %w", err)
	}

	return nil
}

// Load implements records.Backend: it reads and checks every record.
func (f file) Load(context.Context) (c records.Contents, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		c, err = load(tx)

		return err
	})

	return c, err
}

func load(tx *bolt.Tx) (records.Contents, error) {
	c := records.Contents{Jobs: map[string]records.Job{}}
	for key, into := range map[string]any{
		string(keyCursor): &c.Mark.Cursor, string(keyMaxEpoch): &c.Mark.MaxEpoch, string(keyReportID): &c.ReportID,
	} {
		if err := getJSON(tx.Bucket(bucketMeta), []byte(key), into); err != nil {
			return c, err
		}
	}
	for uid, r := range eachJSON[records.Row](tx.Bucket(bucketRows)) {
		if r.err != nil {
			return c, r.err
		}
		c.Jobs[uid] = records.Job{Row: &r.value}
	}
	for uid, r := range eachJSON[feed.Report](tx.Bucket(bucketReports)) {
		if r.err != nil {
			return c, r.err
		}
		j := c.Jobs[uid]
		j.Report = &r.value
		c.Jobs[uid] = j
	}
	for _, part := range []struct {
		bucket []byte
		set    func(*records.Job, []byte)
	}{
		{bucketBodies, func(j *records.Job, b []byte) { j.Body = b }},
		{bucketMemories, func(j *records.Job, b []byte) { j.Memory = b }},
	} {
		err := tx.Bucket(part.bucket).ForEach(func(k, v []byte) error {
			b, err := unseal(k, v)
			if err != nil {
				return err
			}
			j := c.Jobs[string(k)]
			part.set(&j, slices.Clone(b))
			c.Jobs[string(k)] = j

			return nil
		})
		if err != nil {
			return c, err
		}
	}

	return c, nil
}

// Commit implements records.Backend: all of a change, or nothing.
func (f file) Commit(_ context.Context, c records.Change) error {
	return f.db.Update(func(tx *bolt.Tx) error {
		for _, e := range c.Edits {
			if err := putJob(tx, e); err != nil {
				return err
			}
		}
		if c.ReportID > 0 {
			if err := put(tx.Bucket(bucketMeta), keyReportID, records.Marshal(c.ReportID)); err != nil {
				return err
			}
		}
		if c.Mark == nil {
			return nil
		}
		if err := put(tx.Bucket(bucketMeta), keyCursor, records.Marshal(c.Mark.Cursor)); err != nil {
			return err
		}

		return put(tx.Bucket(bucketMeta), keyMaxEpoch, records.Marshal(c.Mark.MaxEpoch))
	})
}

// putJob writes what is new of a job.
func putJob(tx *bolt.Tx, e records.Edit) error {
	key := []byte(e.UID)
	set := func(bucket []byte, there, changed bool, value func() []byte) error {
		switch {
		case !there:
			return tx.Bucket(bucket).Delete(key)
		case changed:
			return put(tx.Bucket(bucket), key, value())
		}

		return nil
	}
	if err := set(bucketRows, e.New.Row != nil, e.New.Row != e.Old.Row, func() []byte { return records.Marshal(e.New.Row) }); err != nil {
		return err
	}
	if err := set(bucketBodies, e.New.Body != nil, !bytes.Equal(e.New.Body, e.Old.Body), func() []byte { return e.New.Body }); err != nil {
		return err
	}
	if err := set(bucketMemories, e.New.Memory != nil, !bytes.Equal(e.New.Memory, e.Old.Memory), func() []byte { return e.New.Memory }); err != nil {
		return err
	}

	return set(bucketReports, e.New.Report != nil, e.New.Report != e.Old.Report, func() []byte { return records.Marshal(e.New.Report) })
}
