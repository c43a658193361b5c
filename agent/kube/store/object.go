package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// flinkJob is a FlinkJob object. Its form is the CRD's.
type flinkJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   spec   `json:"spec"`
	Status status `json:"status,omitzero"`
}

// spec is the order as received.
type spec struct {
	UID      string         `json:"uid,omitempty"`
	Site     string         `json:"site,omitempty"`
	Job      string         `json:"job,omitempty"`
	Tenant   string         `json:"tenant,omitempty"`
	Name     string         `json:"name,omitempty"`
	Desired  string         `json:"desired,omitempty"`
	Order    map[string]any `json:"order,omitempty"`
	Body     []byte         `json:"body,omitempty"`
	Received *received      `json:"received,omitempty"`
	InForce  *inForce       `json:"inForce,omitempty"`
	Rejected *rejected      `json:"rejected,omitempty"`
	Writer   int64          `json:"writer,omitempty"`
	Checksum string         `json:"checksum,omitempty"`
}

type received struct {
	Epoch      int64  `json:"epoch"`
	Revision   int64  `json:"revision"`
	Generation int32  `json:"generation"`
	Term       int32  `json:"term"`
	Kind       int32  `json:"kind"`
	Schema     int32  `json:"schema"`
	Deleted    bool   `json:"deleted,omitempty"`
	Policy     string `json:"policy,omitempty"`
	Hash       []byte `json:"hash,omitempty"`
	MAC        []byte `json:"mac,omitempty"`
}

type inForce struct {
	Generation int32  `json:"generation"`
	Term       int32  `json:"term"`
	Deleted    bool   `json:"deleted,omitempty"`
	Policy     string `json:"policy,omitempty"`
}

type rejected struct {
	Code  string `json:"code,omitempty"`
	Class string `json:"class,omitempty"`
	Text  string `json:"text,omitempty"`
}

// status is what people see, and the agent's own record.
type status struct {
	shown `json:",inline"`

	Agent agentRecord `json:"agent,omitzero"`
}

// shown is the part of the status that is for people.
type shown struct {
	State              string             `json:"state,omitempty"`
	Situation          string             `json:"situation,omitempty"`
	Message            string             `json:"message,omitempty"`
	ObservedGeneration int32              `json:"observedGeneration,omitempty"`
	RecordedGeneration int32              `json:"recordedGeneration,omitempty"`
	Term               int32              `json:"term,omitempty"`
	Run                int32              `json:"run,omitempty"`
	TermRun            string             `json:"termRun,omitempty"`
	FlinkJobID         string             `json:"flinkJobID,omitempty"`
	Snapshot           *shownSnapshot     `json:"snapshot,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Hub                string             `json:"hub,omitempty"`
}

type shownSnapshot struct {
	Path        string       `json:"path"`
	Kind        string       `json:"kind,omitempty"`
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}

// agentRecord is what the agent alone reads.
type agentRecord struct {
	Memory     string `json:"memory,omitempty"`
	MemoryGzip []byte `json:"memoryGzip,omitempty"`
	Report     string `json:"report,omitempty"`
	Removed    int32  `json:"removed,omitempty"`
	Object     string `json:"object,omitempty"` // uid of the object it was written into: a copy gives itself away
	Writer     int64  `json:"writer,omitempty"`
	Sequence   int64  `json:"sequence,omitempty"`
	Checksum   string `json:"checksum,omitempty"`
}

// empty reports whether a status says nothing of its job.
func (s status) empty() bool {
	a := s.Agent

	return s.State == "" && len(s.Conditions) == 0 && a.Memory == "" && len(a.MemoryGzip) == 0 && a.Report == "" && a.Removed == 0
}

// seal is the checksum of a spec. What is only for people to read is not part of it.
func (s spec) seal() string {
	s.Order, s.Checksum = nil, ""

	return checksum(s)
}

// whole reports whether the agent wrote the spec as it is.
func (s spec) whole() bool { return s.Checksum != "" && s.Checksum == s.seal() }

func (r agentRecord) seal() string {
	r.Checksum = ""

	return checksum(r)
}

// whole reports whether the agent wrote the record as it is. An object that has none yet is whole.
func (r agentRecord) whole() bool {
	return r.Checksum == r.seal() || len(r.MemoryGzip) == 0 && r.Memory == "" && r.Report == "" && r.Sequence == 0 && r.Checksum == ""
}

func checksum(v any) string {
	sum := sha256.Sum256(text(v))

	return hex.EncodeToString(sum[:8])
}

// same reports whether two specs say the same, whoever wrote them.
func (s spec) same(o spec) bool {
	s.Writer, s.Checksum, o.Writer, o.Checksum = 0, "", 0, ""

	return reflect.DeepEqual(s, o) || bytes.Equal(text(s), text(o))
}

// same reports whether two statuses say the same, whoever wrote them.
func (s status) same(o status) bool {
	if s.Agent.Memory != o.Agent.Memory {
		return false
	}
	for _, r := range []*agentRecord{&s.Agent, &o.Agent} {
		r.Writer, r.Sequence, r.Checksum = 0, 0, ""
	}

	return bytes.Equal(text(s), text(o))
}

func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T has no JSON form: %v", v, err)) // all of them are plain values
	}

	return b
}

// objectName is the name of a job's object: its uid, which is 32 hex digits of a hub that keeps its word, or a hash of it.
func objectName(uid string) string {
	if len(validation.IsDNS1123Subdomain(uid)) == 0 {
		return uid
	}
	sum := sha256.Sum256([]byte(uid))

	return "x" + hex.EncodeToString(sum[:16])
}

// label makes a value fit to be one of a label: "" if it is not.
func label(v string) string {
	if len(validation.IsValidLabelValue(v)) > 0 {
		return ""
	}

	return v
}

// read takes an object from the client.
func read(u *unstructured.Unstructured) (*flinkJob, error) {
	b, err := u.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("decode FlinkJob %s: %w", u.GetName(), err)
	}

	return parse(u.GetName(), b)
}

// parse takes an object as the API server sends it.
func parse(name string, b []byte) (*flinkJob, error) {
	var o flinkJob
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("decode FlinkJob %s: %w", name, err)
	}

	return &o, nil
}

// ageless is a sentence without its numbers, ages and times, which do not make it another one.
func ageless(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] < '0' || s[i] > '9' {
			b.WriteByte(s[i])
			i++

			continue
		}
		b.WriteByte('#')
		for i < len(s) && strings.IndexByte("0123456789.:hms", s[i]) >= 0 {
			i++
		}
	}

	return b.String()
}
