package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// inspect walks all pages of a bbolt file without bbolt, and checks the file's sum. bbolt trusts its pages: at open, out
// of a goroutine of its own, a damaged one ends the process without a word about which file it was and what helps. It
// must not run while another process writes the file.
func inspect(f io.ReaderAt, size int64) error {
	m, err := newestMeta(f)
	if err != nil {
		return err
	}
	if need := int64(m.pages) * int64(m.pageSize); need > size {
		return fmt.Errorf("cut off: %d bytes of %d", size, need)
	}
	// bbolt goes on from the older meta page if the newer is damaged: without what was written last, which was answered.
	// It does so for a page of which power lost let only a part be written; but all of it that counts is in one sector,
	// which disks write whole or not at all.
	for i := range 2 {
		b := make([]byte, metaLen)
		if _, err := f.ReadAt(b, int64(i)*int64(m.pageSize)); err != nil {
			return fmt.Errorf("meta page %d: %w", i, err)
		}
		if _, ok := parseMeta(b); !ok {
			return fmt.Errorf("meta page %d is damaged: what was written last may be missing", i)
		}
	}
	w := newWalker(f, m)
	if err := w.page(m.root, where{}); err != nil {
		return err
	}
	return w.sums()
}

// meta is what matters of bbolt's meta page.
type meta struct {
	pageSize    uint32
	root, pages uint64
	txid        uint64
}

const (
	pageHead   = 16 // id uint64, flags uint16, count uint16, overflow uint32
	pageBranch = 1
	pageLeaf   = 2
	bucketFlag = 1
	elementLen = 16
	bucketLen  = 16 // root uint64, sequence uint64
	maxDepth   = 64
	metaLen    = 80
)

var le = binary.LittleEndian

// newestMeta reads both meta pages and takes the newer good one, as bbolt does.
func newestMeta(f io.ReaderAt) (meta, error) {
	var best meta
	found := false
	size := int64(0)
	for _, guess := range []int64{int64(os.Getpagesize()), 4096, 8192, 16384, 65536} {
		for _, at := range []int64{0, guess} {
			b := make([]byte, metaLen)
			if _, err := f.ReadAt(b, at); err != nil {
				continue
			}
			if m, ok := parseMeta(b); ok && (size == 0 || int64(m.pageSize) == size) && (!found || m.txid > best.txid) {
				best, found, size = m, true, int64(m.pageSize)
			}
		}
	}
	if !found {
		return meta{}, errors.New("not a store's file: no good meta page")
	}
	return best, nil
}

func parseMeta(b []byte) (meta, bool) {
	const magic, version = 0xED0CDAED, 2
	m := b[pageHead:]
	sum := fnv.New64a()
	sum.Write(m[:56])
	if le.Uint32(m) != magic || le.Uint32(m[4:]) != version || le.Uint64(m[56:]) != sum.Sum64() {
		return meta{}, false
	}
	return meta{pageSize: le.Uint32(m[8:]), root: le.Uint64(m[16:]), pages: le.Uint64(m[40:]), txid: le.Uint64(m[48:])}, true
}

type walker struct {
	f    io.ReaderAt
	meta meta
	seen map[uint64]bool

	sum          uint64 // of what was seen (sum.go)
	schema, told []byte // what meta/schema and meta/sum hold
}

func newWalker(f io.ReaderAt, m meta) *walker {
	return &walker{f: f, meta: m, seen: map[uint64]bool{}}
}

// sums compares what was seen with what the file says of itself.
func (w *walker) sums() error {
	if schemaOf(w.schema) != Schema {
		return nil // an older one has none, and another is refused as such
	}
	if len(w.told) != 8 || binary.BigEndian.Uint64(w.told) != w.sum {
		return errors.New("checksum does not fit: rows are damaged, missing, or of the past")
	}
	return nil
}

// where is the place in a file where a page or an inline bucket stands.
type where struct {
	depth     int
	path      string // of the bucket
	low, high []byte // bounds of its keys: from low, before high; nil: none
}

// page checks a page and all below it.
func (w *walker) page(id uint64, at where) error {
	switch {
	case id < 2 || id >= w.meta.pages:
		return fmt.Errorf("page %d is outside of the file", id)
	case w.seen[id]:
		return fmt.Errorf("page %d is used twice", id)
	case at.depth > maxDepth:
		return fmt.Errorf("page %d is too deep", id)
	}
	w.seen[id] = true
	head := make([]byte, pageHead)
	offset := int64(id) * int64(w.meta.pageSize)
	if _, err := w.f.ReadAt(head, offset); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	overflow := uint64(le.Uint32(head[12:]))
	if le.Uint64(head) != id || id+overflow >= w.meta.pages {
		return fmt.Errorf("page %d has a damaged head", id)
	}
	for i := range overflow {
		if w.seen[id+1+i] {
			return fmt.Errorf("page %d is used twice", id+1+i)
		}
		w.seen[id+1+i] = true
	}
	b := make([]byte, (overflow+1)*uint64(w.meta.pageSize))
	if _, err := w.f.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if err := w.elements(b, at); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks a page's elements, in their own page or in the value of an inline bucket, and all below them.
func (w *walker) elements(b []byte, p where) error {
	flags, count := le.Uint16(b[8:]), uint64(le.Uint16(b[10:]))
	if flags != pageBranch && flags != pageLeaf {
		return fmt.Errorf("neither branch nor leaf: %#x", flags)
	}
	if pageHead+count*elementLen > uint64(len(b)) || flags == pageBranch && count == 0 {
		return errors.New("damaged element count")
	}
	// Elements are written side by side, behind their heads: a count that was damaged would make some of them vanish unseen.
	next := pageHead + count*elementLen
	if count == 0 && bytes.ContainsFunc(b[pageHead:min(pageHead+elementLen, len(b))], func(r rune) bool { return r != 0 }) {
		return errors.New("damaged element count")
	}
	keys, values := make([][]byte, count), make([][]byte, count)
	for i := range count {
		at := pageHead + i*elementLen
		e := b[at : at+elementLen]
		pos, klen, vlen := uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), uint64(0)
		if flags == pageLeaf {
			pos, klen, vlen = uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		}
		if at+pos+klen+vlen > uint64(len(b)) {
			return fmt.Errorf("element %d reaches beyond the page", i)
		}
		if at+pos != next {
			return fmt.Errorf("element %d of %d is not in its place", i, count)
		}
		next += klen + vlen
		keys[i], values[i] = b[at+pos:at+pos+klen], b[at+pos+klen:at+pos+klen+vlen]
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		if p.low != nil && bytes.Compare(keys[i], p.low) < 0 || p.high != nil && bytes.Compare(keys[i], p.high) >= 0 {
			return fmt.Errorf("element %d does not belong here", i)
		}
	}
	for i := range count {
		e := b[pageHead+i*elementLen:]
		below := where{depth: p.depth + 1, path: p.path}
		var err error
		switch {
		case flags == pageBranch:
			if below.low, below.high = keys[i], p.high; i+1 < count {
				below.high = keys[i+1]
			}
			err = w.page(le.Uint64(e[8:]), below)
		case le.Uint32(e) == bucketFlag:
			below.path = within(p.path, string(keys[i]))
			err = w.bucket(values[i], below)
		case le.Uint32(e) != 0:
			err = fmt.Errorf("element %d is of no known kind", i)
		default:
			w.value(p.path, keys[i], values[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a bucket's value to its root, which may stand in the value itself.
func (w *walker) bucket(value []byte, p where) error {
	if len(value) < bucketLen {
		return errors.New("damaged bucket")
	}
	if root := le.Uint64(value); root != 0 {
		return w.page(root, p)
	}
	if len(value) < bucketLen+pageHead {
		return errors.New("damaged inline bucket")
	}
	return w.elements(value[bucketLen:], p)
}

// value adds a value to the sum, and keeps what the file says of itself.
func (w *walker) value(path string, key, value []byte) {
	if isSum(path, key) {
		w.told = value
		return
	}
	if path == bucketMeta && string(key) == metaSchema {
		w.schema = value
	}
	w.sum += mark(path, key, value)
}
