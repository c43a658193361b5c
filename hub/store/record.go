package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// Schema is the version of everything this package writes: frames, buckets, headers. A golden database of each released
// one stays in testdata. Forward only: a newer one is refused, an older one is brought to this one by Open.
//
//	1  the first
//	2  each file has a sum (sum.go)
const Schema = 2

// Row is one row of a write, as the log and rows.db have it.
type Row struct {
	Table, Key string
	Deleted    bool
	Header     []byte // JSON of the row without its body
	Body       []byte
}

// Record is one write in the log: its rows, the audit record among them, all or none.
type Record struct {
	Revision Revision
	Epoch    int64 // number of the epoch that wrote it
	At       time.Time
	Rows     []Row
}

// A frame holds every value on disk, since bbolt has no checksums of its own:
//
//	"ww" | schema uint16 | length uint32 | payload | CRC-32C of all before, uint32        (big endian)
const frameHead, frameTail = 8, 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func frame(payload []byte) []byte {
	b := make([]byte, 0, frameHead+len(payload)+frameTail)
	b = append(b, 'w', 'w')
	b = binary.BigEndian.AppendUint16(b, Schema)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unframe checks a frame and gives its payload, which shares b's memory.
func unframe(b []byte) ([]byte, error) {
	if len(b) < frameHead+frameTail || b[0] != 'w' || b[1] != 'w' {
		return nil, errors.New("not a record")
	}
	end := len(b) - frameTail
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, errors.New("checksum does not fit")
	}
	if s := binary.BigEndian.Uint16(b[2:]); s > Schema {
		return nil, fmt.Errorf("schema %d, written by a newer version; this one reads up to %d", s, Schema)
	}
	if n := binary.BigEndian.Uint32(b[4:]); int64(n) != int64(end-frameHead) {
		return nil, errors.New("length does not fit")
	}
	return b[frameHead:end], nil
}

// encode gives the record's frame.
func (r Record) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixNano()))
	b = binary.AppendUvarint(b, uint64(len(r.Rows)))
	for _, row := range r.Rows {
		b = row.append(b)
	}
	return frame(b)
}

// decodeRecord copies everything out of b.
func decodeRecord(b []byte) (Record, error) {
	payload, err := unframe(b)
	if err != nil {
		return Record{}, err
	}
	d := decoder{b: slices.Clone(payload)}
	r := Record{Revision: Revision(d.uint64()), Epoch: int64(d.uint64()), At: time.Unix(0, int64(d.uint64())).UTC()}
	n := d.uvarint()
	for range n {
		if d.err != nil {
			break
		}
		r.Rows = append(r.Rows, d.row())
	}
	return r, d.end()
}

// encodeRow gives the frame of one row in rows.db.
func encodeRow(rev Revision, r Row) []byte {
	return frame(r.append(binary.BigEndian.AppendUint64(nil, uint64(rev))))
}

// decodeRow copies everything out of b.
func decodeRow(b []byte) (Revision, Row, error) {
	payload, err := unframe(b)
	if err != nil {
		return 0, Row{}, err
	}
	d := decoder{b: slices.Clone(payload)}
	rev := Revision(d.uint64())
	r := d.row()
	return rev, r, d.end()
}

func (r Row) append(b []byte) []byte {
	var flags byte
	if r.Deleted {
		flags = 1
	}
	b = append(b, flags)
	for _, part := range [...][]byte{[]byte(r.Table), []byte(r.Key), r.Header, r.Body} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// decoder reads what append wrote. After the first error it gives zeros.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("record ends too early")

func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.err = errShort
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errShort
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) row() Row {
	flags := d.take(1)
	r := Row{Deleted: len(flags) == 1 && flags[0] == 1}
	r.Table, r.Key = string(d.take(d.uvarint())), string(d.take(d.uvarint()))
	r.Header, r.Body = d.take(d.uvarint()), d.take(d.uvarint())
	return r
}

func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		return errors.New("record goes on after its end")
	}
	return d.err
}

// be8 is a number as a key: in order.
func be8[T ~int64](n T) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func fromBE8[T ~int64](b []byte) T {
	if len(b) != 8 {
		return 0
	}
	return T(binary.BigEndian.Uint64(b))
}
