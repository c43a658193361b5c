package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	bolt "go.etcd.io/bbolt"
)

const (
	sealFormat = 1
	sealSize   = 5
)

var errChecksum = errors.New("checksum does not match")

// seal puts format and checksum before a payload. The key is part of the checksum: a value under another key is found out.
func seal(key, payload []byte) []byte {
	out := make([]byte, sealSize, sealSize+len(payload))
	out[0] = sealFormat
	binary.BigEndian.PutUint32(out[1:], checksum(key, payload))

	return append(out, payload...)
}

// unseal returns the payload, which aliases v.
func unseal(key, v []byte) ([]byte, error) {
	if len(v) < sealSize || v[0] != sealFormat {
		return nil, fmt.Errorf("record %q: unknown format", key)
	}
	payload := v[sealSize:]
	if binary.BigEndian.Uint32(v[1:sealSize]) != checksum(key, payload) {
		return nil, fmt.Errorf("record %q: %w", key, errChecksum)
	}

	return payload, nil
}

func checksum(key, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)

	return crc32.Update(crc32.Checksum(key, table), table, payload)
}

func put(b *bolt.Bucket, key, payload []byte) error { return b.Put(key, seal(key, payload)) }

// getJSON reads one record; where there is none it leaves into as it is.
func getJSON(b *bolt.Bucket, key []byte, into any) error {
	v := b.Get(key)
	if v == nil {
		return nil
	}
	payload, err := unseal(key, v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}

	return nil
}

type result[T any] struct {
	value T
	err   error
}

// eachJSON goes over all records of a bucket; a record that cannot be read comes with its error.
func eachJSON[T any](b *bolt.Bucket) iter.Seq2[string, result[T]] {
	return func(yield func(string, result[T]) bool) {
		c := b.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			var r result[T]
			r.err = getJSON(b, k, &r.value)
			if !yield(string(k), r) {
				return
			}
		}
	}
}
