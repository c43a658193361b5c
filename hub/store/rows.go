package store

import (
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Revision is a place in the log: one per write, strictly increasing, without gaps. 0 is before everything.
type Revision int64

// Epoch is one life of the store, new at every Open. The number fences older writers; the id names a branch of history.
type Epoch struct {
	Number int64
	ID     string // 32 hex digits, random
}

// Span is the part of the log that one epoch wrote. Last is First-1 while it wrote nothing.
type Span struct {
	Epoch       Epoch
	First, Last Revision
}

// Version orders rows, also across histories: compare it as a pair.
type Version struct {
	EpochNumber int64
	Revision    Revision
}

// Before orders versions.
func (v Version) Before(o Version) bool {
	return v.EpochNumber < o.EpochNumber || v.EpochNumber == o.EpochNumber && v.Revision < o.Revision
}

// Tenant owns jobs.
type Tenant struct{ Name string }

// Admin is the newest SVID that was given to an admin over the network.
type Admin struct {
	Name     string
	Serial   string
	IssuedAt time.Time
	NotAfter time.Time
	By       string // SPIFFE ID of the one who asked
}

// Values of Cluster.State.
const (
	ClusterInvited = "invited"
	ClusterJoined  = "joined"
	ClusterRemoved = "removed"
)

// Cluster is a data plane that was invited. Its name may be used again once it is removed, its UID never.
type Cluster struct {
	UID          string
	Name         string
	State        string
	CreatedAt    time.Time
	JoinedAt     time.Time
	RemovedAt    time.Time
	SiteUID      string // where it joined from
	CertSerial   string
	CertNotAfter time.Time
	KeyHash      string // of the key that its first certificate was asked for with
	EnrolmentKey string `json:",omitempty"` // hash of the key that proves it after its certificate ended; empty: it has none
	Banned       bool
}

// Token is a join token. The token itself is never stored.
type Token struct {
	Hash       string // hex SHA-256
	ClusterUID string
	CreatedAt  time.Time
	ExpiresAt  time.Time
	UsedAt     time.Time
	KeyHash    string   // of the key that used it
	Chain      [][]byte // DER, the certificate given, for a retry with the same key
	Void       bool     // replaced by a later invitation

	EnrolmentKey string `json:",omitempty"` // hash of the one that was shown with it
}

// Job is a declared job. A deleted one stays, Deleting, until its cluster reports it gone.
type Job struct {
	flink.Job
	Revision  Revision // of the write that last changed it
	DeletedAt time.Time
}

// FeedRow is an order as it is shipped, keyed by (ClusterUID, UID). Body is exactly the bytes that were written.
type FeedRow struct {
	ClusterUID string
	UID        string
	Version    Version
	Generation int32
	Term       int32
	Deleted    bool // a tombstone
	Policy     flink.DeletePolicy
	Hash       []byte // SHA-256 of Body
	Body       []byte `json:"-"`
	MAC        []byte
	Schema     int32 // of Body
}

// Audit says who did what. Every write has one; it is a row of the write.
type Audit struct {
	At     time.Time // zero: the time of the write
	Who    string
	Verb   string
	Object string
	Detail string
}

// AuditRecord is an Audit as kept: Prev is the hash of the record before it, so that none can be changed or taken out unseen.
type AuditRecord struct {
	Audit
	Revision Revision
	Prev     []byte `json:",omitempty"`
}

// StatusRow is the newest that is known about one job, observed: it has no revision.
type StatusRow struct {
	ClusterUID string
	JobUID     string
	Term       int32
	Status     flink.Status
	ReceivedAt time.Time
	Nack       *Nack // the agent's refusal of the newest order, nil: none
}

// Nack is an agent's refusal of one version of an order. It is over when the order has another version.
type Nack struct {
	Version Version
	Code    string
	Class   string
	Text    string
	At      time.Time
}

// SpecVersion is one spec of a job's history.
type SpecVersion struct {
	Generation int32
	At         time.Time
	Spec       flink.Spec
}
