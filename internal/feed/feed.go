package feed

import (
	"cmp"
	"errors"

	"github.com/waterwheel-io/waterwheel/flink"
)

// ErrFenced refuses a frame of an older writer: its epoch number is smaller than one seen before.
var ErrFenced = errors.New("fenced: a later epoch was seen")

// Version is when a row was written: the number of the epoch and the revision in
// it. Versions compare as pairs, so that across a fork of history the later writer wins.
type Version struct {
	EpochNumber int64
	Revision    int64
}

// Compare is -1, 0 or 1 as v is before, the same as, or after o.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.EpochNumber, o.EpochNumber), cmp.Compare(v.Revision, o.Revision))
}

// Epoch is one life of a hub's store.
type Epoch struct {
	Number int64  // fences an older writer
	ID     string // names a branch of history
}

// Cursor says that every row of the named branch up to Revision is recorded. The zero Cursor is none.
type Cursor struct {
	EpochID  string
	Revision int64
}

// IsZero reports whether nothing was ever recorded.
func (c Cursor) IsZero() bool { return c.EpochID == "" }

// Row kinds and body schemas that this build understands. Others are nacked.
const (
	KindJob     int32 = 1
	SchemaOrder int32 = 1
)

// Row is one object at its newest revision, as it came from the hub.
type Row struct {
	UID        string
	Version    Version
	Generation int32
	Term       int32
	Kind       int32
	Deleted    bool
	Policy     flink.DeletePolicy
	Hash       []byte // SHA-256 of Body
	Body       []byte // empty in a tombstone
	MAC        []byte
	Schema     int32
}

// Frame is what is recorded as a whole or not at all.
type Frame struct {
	Epoch  Epoch
	Rows   []Row
	Cursor Cursor // zero: the rows of one write go on in the next frame, the cursor stays
}

// Nack codes and classes.
const (
	CodeUnsupported = "UNSUPPORTED"
	CodeInvalid     = "INVALID"
	CodeCorrupt     = "CORRUPT"

	ClassPermanent = "PERMANENT" // until a new revision
)

// Nack says why a row was recorded as rejected.
type Nack struct {
	UID     string
	Version Version
	Code    string
	Class   string
	Text    string
}

// Recorded is what the recording of a frame changed.
type Recorded struct {
	Changed []string // uids with a new order or tombstone
	Nacks   []Nack
	Cursor  Cursor // as it stands now
}

// Standing is what an agent says of its records when it greets.
type Standing struct {
	SiteUID  string
	Cursor   Cursor
	MaxEpoch int64 // greatest epoch number ever seen
	Root     [32]byte
	Count    int // live rows, the rejected ones too
}

// Report is a status that the hub must have on disk before it is forgotten here.
type Report struct {
	ID     uint64 // of this very status: a later one of the same job has a greater id
	UID    string
	Term   int32
	Status flink.Status
}
