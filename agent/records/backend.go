package records

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/digest"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// Backend is where records stand. Commits about different jobs may run at the
// same time, those about one job come one after another; a Load runs alone.
type Backend interface {
	// Site is the name of the place, 32 hex digits. It stays when records are lost.
	Site() string
	// Load reads everything. An error means that nothing can be said, never that nothing is there. Of single jobs it may
	// say so by Contents.Doubts, but for the first time.
	Load(ctx context.Context) (Contents, error)
	// Commit is durable when it returns nil: the edits first, then the rest. After an error any part of it may be on record.
	Commit(ctx context.Context, c Change) error
	Close() error
}

// Contents is everything on record.
type Contents struct {
	Jobs     map[string]Job
	Doubts   map[string]error // jobs of which it is not known what is on record, and why; they are not among Jobs
	Mark     Mark
	ReportID uint64 // last id given to a report, as far as it was kept
}

// Job is everything on record about one uid. A Job and what it points to are never changed once made.
type Job struct {
	Row    *Row         // nil: the hub said nothing of it that is on record
	Body   []byte       // of the last good order, as shipped
	Memory []byte       // JSON of plan.Memory; nil: none
	Report *feed.Report // until the hub has it on disk
}

// IsZero reports whether nothing is on record.
func (j Job) IsZero() bool {
	return j.Row == nil && j.Body == nil && j.Memory == nil && j.Report == nil
}

// known reports whether the job has an order in force and is not gone from here.
func (j Job) known() bool { return j.Row != nil && j.Row.Active != nil && !j.Row.Removed }

// Mark is how far the stream was recorded.
type Mark struct {
	Cursor   feed.Cursor
	MaxEpoch int64 // greatest epoch number ever seen
}

// Change is what one commit puts on record.
type Change struct {
	Edits    []Edit
	Mark     *Mark  // nil: as it was
	ReportID uint64 // last id given to a report; 0: as it was
}

// Edit is a job before and after. A zero New is forgotten.
type Edit struct {
	UID      string
	Old, New Job
}

// Row is what is kept of one uid's row. Its JSON form is stored: fields are only added.
type Row struct {
	Version    feed.Version
	Generation int32
	Term       int32
	Kind       int32
	Deleted    bool
	Policy     flink.DeletePolicy
	Hash       []byte
	MAC        []byte
	Schema     int32

	Active   *Active    // what is in force; nil: no good order ever came
	Rejected *Rejection // why the newest row is not in force
	Removed  bool       // nothing of the job is left here; the row goes when the hub knows
}

// Active is what the planner is told. The body of its order is the job's, unless it never had one (an unknown job's tombstone).
type Active struct {
	Generation int32
	Term       int32
	Deleted    bool
	Policy     flink.DeletePolicy
	HasBody    bool
}

// Rejection is why a row is not in force, as its nack says.
type Rejection struct{ Code, Class, Text string }

func (r *Row) digest(uid string) digest.Row {
	return digest.Row{UID: uid, EpochNumber: r.Version.EpochNumber, Revision: r.Version.Revision, Hash: r.Hash}
}

func (r *Row) nack(uid string) feed.Nack {
	return feed.Nack{UID: uid, Version: r.Version, Code: r.Rejected.Code, Class: r.Rejected.Class, Text: r.Rejected.Text}
}

// Marshal is the stored JSON form of a value.
func Marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("records: %T has no JSON form: %v", v, err)) // all stored types are plain values
	}

	return b
}
