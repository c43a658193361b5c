package flink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Run is one start of a job on a Flink cluster of its own. It names the
// objects, the Flink job id, the directories. Comparable; the zero Run is no run.
type Run struct {
	UID  string
	Term int32
	Run  int32
}

// IsZero reports whether r names no run.
func (r Run) IsZero() bool { return r.Run == 0 }

// Before orders runs of one job: by term, then by run.
func (r Run) Before(o Run) bool {
	return r.Term < o.Term || r.Term == o.Term && r.Run < o.Run
}

// String is the run's name as people see it: t1/r4.
func (r Run) String() string { return fmt.Sprintf("t%d/r%d", r.Term, r.Run) }

// Name is the run's name for objects and directories of one host: <uid>-t1-r4.
func (r Run) Name() string { return fmt.Sprintf("%s-t%d-r%d", r.UID, r.Term, r.Run) }

// JobID is the Flink job id of the run: 32 hex digits, a hash of its identity,
// so that a start whose answer was lost can be recognised, and never used twice.
func (r Run) JobID() string { return r.id("job") }

// TriggerID is the id of one attempt at a step of the run, 32 hex digits. The
// same id returns the same result for ever, so each new attempt needs its own.
func (r Run) TriggerID(step string, attempt int) string {
	return r.id(fmt.Sprintf("%s/%d", step, attempt))
}

func (r Run) id(what string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "waterwheel.dev/%s\x00%s\x00%d\x00%d", what, r.UID, r.Term, r.Run))
	return hex.EncodeToString(sum[:16])
}

// Kinds of Snapshot.
const (
	KindCheckpoint = "checkpoint"
	KindSavepoint  = "savepoint"
)

// Snapshot is a completed checkpoint or savepoint: a path that a run can start from.
type Snapshot struct {
	Path        string // normalised, see NormalizePath
	Kind        string
	ID          int64 // checkpoint number inside its Flink job; 0 for a savepoint
	CompletedAt time.Time
	Run         Run // the run that wrote it
}

// IsZero reports whether there is no snapshot.
func (s Snapshot) IsZero() bool { return s.Path == "" }

// NormalizePath brings a snapshot path to the one form in which paths are
// compared: Flink answers file:///a/b, /a/b and file:/a/b/_metadata all as
// file:/a/b; object store paths stay as they are but for a trailing _metadata.
func NormalizePath(p string) string {
	p = strings.TrimSuffix(p, "/")
	p = strings.TrimSuffix(p, "/_metadata")
	p = strings.TrimSuffix(p, "/")
	switch {
	case strings.HasPrefix(p, "file:"):
		return "file:/" + strings.TrimLeft(p[len("file:"):], "/")
	case strings.HasPrefix(p, "/"):
		return "file:/" + strings.TrimLeft(p, "/")
	}
	return p
}

// CheckpointID reads N from a path …/chk-N. ok is false for any other path.
func CheckpointID(path string) (n int64, ok bool) {
	p := NormalizePath(path)
	base := p[strings.LastIndexByte(p, '/')+1:]
	digits, found := strings.CutPrefix(base, "chk-")
	if !found || digits == "" || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
