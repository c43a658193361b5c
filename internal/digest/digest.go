package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Buckets is how many sums a root covers.
const Buckets = 256

// Size is the length of sums and roots in bytes.
const Size = sha256.Size

// Row is what of a live row goes into the sum.
type Row struct {
	UID         string
	EpochNumber int64
	Revision    int64
	Hash        []byte
}

// Tree holds the bucket sums of a set of rows. The zero Tree is that of no rows.
// It is a value: a copy is independent. Not for concurrent use.
type Tree struct {
	sums [Buckets]sum
}

// sum is a number modulo 2²⁵⁶, least significant word first.
type sum [4]uint64

// Bucket is the bucket of a uid.
func Bucket(uid string) int {
	h := sha256.Sum256([]byte(uid))

	return int(h[0])
}

// Add puts a row in. Adding a row twice counts it twice.
func (t *Tree) Add(r Row) {
	s := &t.sums[Bucket(r.UID)]
	x := leaf(r)
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], x[i], carry)
	}
}

// Remove takes out a row that was added with the same version and hash.
func (t *Tree) Remove(r Row) {
	s := &t.sums[Bucket(r.UID)]
	x := leaf(r)
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], x[i], borrow)
	}
}

// Sum is one bucket's sum, most significant byte first.
func (t *Tree) Sum(bucket int) [Size]byte {
	var out [Size]byte
	for i, word := range t.sums[bucket] {
		binary.BigEndian.PutUint64(out[Size-8*(i+1):], word)
	}

	return out
}

// Root is the digest of all buckets.
func (t *Tree) Root() [Size]byte {
	h := sha256.New()
	for i := range Buckets {
		s := t.Sum(i)
		h.Write(s[:])
	}

	return [Size]byte(h.Sum(nil))
}

func leaf(r Row) sum {
	b := make([]byte, 0, len(r.UID)+len(r.Hash)+32)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.UID)))
	b = append(b, r.UID...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.EpochNumber))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Hash)))
	b = append(b, r.Hash...)
	h := sha256.Sum256(b)
	var out sum
	for i := range out {
		out[i] = binary.BigEndian.Uint64(h[Size-8*(i+1):])
	}

	return out
}
