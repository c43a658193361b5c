package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// The sum of a file is over every key and value in it but itself: what they are, and in which bucket. A frame tells that
// one value is whole, and pages can be told to be well formed; neither tells that a row is missing, that a pointer leads to
// a page of the past, or that a bucket has another name. Each transaction changes the sum by what it puts and deletes, so
// it costs what the change costs; Open adds all up.

// mark is the part of one value in the sum. A single wrong bit in path, key or value gives another mark.
func mark(path string, key, value []byte) uint64 {
	b := binary.AppendUvarint(make([]byte, 0, 160), uint64(len(path)))
	b = append(append(b, path...), key...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(value, castagnoli))
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

// within is the path of a bucket in another; "" is the file's root.
func within(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// isSum tells the one value that is not part of the sum.
func isSum(path string, key []byte) bool { return path == bucketMeta && string(key) == metaSum }

// update is bbolt's, and keeps the file's sum. Nothing else writes to a file of the store.
func update(db *bbolt.DB, fn func(*writing) error) error {
	return db.Update(func(tx *bbolt.Tx) error {
		w := &writing{tx: tx}
		if meta := tx.Bucket([]byte(bucketMeta)); meta != nil { // none: the file is being made
			sum := meta.Get([]byte(metaSum))
			if len(sum) != 8 {
				return errors.New("the file has no sum")
			}
			w.sum = binary.BigEndian.Uint64(sum)
		}
		if err := fn(w); err != nil {
			return err
		}
		return putSum(tx, w.sum)
	})
}

func putSum(tx *bbolt.Tx, sum uint64) error {
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaSum), binary.BigEndian.AppendUint64(nil, sum))
}

// writing is a transaction that keeps the sum.
type writing struct {
	tx  *bbolt.Tx
	sum uint64
}

// bucket is a bucket of a writing. Reading it raw is fine, writing is not.
type bucket struct {
	raw  *bbolt.Bucket
	path string
	w    *writing
}

func (w *writing) bucket(name string) *bucket {
	return &bucket{raw: w.tx.Bucket([]byte(name)), path: name, w: w}
}

func (w *writing) create(name string) (*bucket, error) {
	raw, err := w.tx.CreateBucket([]byte(name))
	return &bucket{raw: raw, path: name, w: w}, err
}

// create gives the bucket in b, a new one if there is none.
func (b *bucket) create(name string) (*bucket, error) {
	raw, err := b.raw.CreateBucketIfNotExists([]byte(name))
	return &bucket{raw: raw, path: within(b.path, name), w: b.w}, err
}

// first is the least key, nil: none.
func (b *bucket) first() []byte {
	k, _ := b.raw.Cursor().First()
	return k
}

func (b *bucket) put(key, value []byte) error {
	b.forget(key)
	if err := b.raw.Put(key, value); err != nil {
		return err
	}
	b.w.sum += mark(b.path, key, value)
	return nil
}

func (b *bucket) delete(key []byte) error {
	b.forget(key)
	return b.raw.Delete(key)
}

func (b *bucket) forget(key []byte) {
	if old := b.raw.Get(key); old != nil {
		b.w.sum -= mark(b.path, key, old)
	}
}

// drop deletes the bucket in b with all that is in it, if there is one.
func (b *bucket) drop(name string) error {
	raw := b.raw.Bucket([]byte(name))
	if raw == nil {
		return nil
	}
	b.w.sum -= sumOf(raw, within(b.path, name))
	return b.raw.DeleteBucket([]byte(name))
}

// sumOf adds up all that is in a bucket.
func sumOf(b *bbolt.Bucket, path string) (sum uint64) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		switch {
		case v == nil:
			sum += sumOf(b.Bucket(k), within(path, string(k)))
		case !isSum(path, k):
			sum += mark(path, k, v)
		}
	}
	return sum
}

// upgrade brings a file of an older schema to this one, in one transaction: schema 1 had no sum.
func upgrade(db *bbolt.DB) error {
	old := false
	err := db.View(func(tx *bbolt.Tx) error {
		old = schemaOf(tx.Bucket([]byte(bucketMeta)).Get([]byte(metaSchema))) < Schema
		return nil
	})
	if err != nil || !old {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket([]byte(bucketMeta)).Put([]byte(metaSchema), []byte{0, Schema}); err != nil {
			return err
		}
		return sealAll(tx)
	})
	if err != nil {
		return fmt.Errorf("upgrade %s to schema %d: %w", db.Path(), Schema, err)
	}
	return nil
}

// sealAll makes the sum anew, of whatever is in the file.
func sealAll(tx *bbolt.Tx) error {
	sum := uint64(0)
	err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		sum += sumOf(b, string(name))
		return nil
	})
	if err != nil {
		return err
	}
	return putSum(tx, sum)
}

// schemaOf reads meta/schema; 0: it is none.
func schemaOf(b []byte) int {
	if len(b) != 2 {
		return 0
	}
	return int(b[0])<<8 | int(b[1])
}
