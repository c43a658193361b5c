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

// inspect walks all pages of a bbolt file without bbolt. bbolt trusts its pages: at open, out of a goroutine of its own,
// a damaged one ends the process without a word about which file it was and what helps. It must not run while another
// process writes the file.
func inspect(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := newestMeta(f)
	if err != nil {
		return err
	}
	if need := int64(m.pages) * int64(m.pageSize); need > info.Size() {
		return fmt.Errorf("cut off: %d bytes of %d", info.Size(), need)
	}
	w := walker{f: f, meta: m, seen: map[uint64]bool{}}
	return w.page(m.root, 0)
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
	elementLen = 16
	bucketLen  = 16 // root uint64, sequence uint64
	maxDepth   = 64
)

var le = binary.LittleEndian

// newestMeta reads both meta pages and takes the newer good one, as bbolt does.
func newestMeta(f *os.File) (meta, error) {
	var best meta
	found := false
	size := int64(0)
	for _, guess := range []int64{int64(os.Getpagesize()), 4096, 8192, 16384, 65536} {
		for _, at := range []int64{0, guess} {
			b := make([]byte, 80)
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
	f    *os.File
	meta meta
	seen map[uint64]bool
}

// page checks a page and all below it.
func (w *walker) page(id uint64, depth int) error {
	switch {
	case id < 2 || id >= w.meta.pages:
		return fmt.Errorf("page %d is outside of the file", id)
	case w.seen[id]:
		return fmt.Errorf("page %d is used twice", id)
	case depth > maxDepth:
		return fmt.Errorf("page %d is too deep", id)
	}
	w.seen[id] = true
	head := make([]byte, pageHead)
	at := int64(id) * int64(w.meta.pageSize)
	if _, err := w.f.ReadAt(head, at); err != nil {
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
	if _, err := w.f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if err := w.elements(b, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walker) elements(b []byte, depth int) error {
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
	var last []byte
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
		key := b[at+pos : at+pos+klen]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		if err := w.below(flags, e, b[at+pos+klen:at+pos+klen+vlen], depth); err != nil {
			return err
		}
	}
	return nil
}

// below follows a branch element to its page and a bucket element to its root.
func (w *walker) below(flags uint16, e, value []byte, depth int) error {
	if flags == pageBranch {
		return w.page(le.Uint64(e[8:]), depth+1)
	}
	if le.Uint32(e) != 1 {
		return nil
	}
	if len(value) < bucketLen {
		return errors.New("damaged bucket")
	}
	if root := le.Uint64(value); root != 0 {
		return w.page(root, depth+1)
	}
	if len(value) < bucketLen+pageHead {
		return errors.New("damaged inline bucket")
	}
	return w.elements(value[bucketLen:], depth+1)
}
