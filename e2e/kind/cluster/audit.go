package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// AuditMetadata is an audit policy that writes one line for each finished
// request, without bodies: who asked for what, when, and the answer's code.
const AuditMetadata = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

// AuditEvent is a request that the API server finished.
type AuditEvent struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Stage    string    `json:"stage"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Finished time.Time `json:"stageTimestamp"`
}

// Audit returns what the API server wrote from a mark on, and the mark of the
// end. The mark 0 is the beginning. A line that is half written is left for the
// next call.
func (c *Cluster) Audit(mark int64) (events []AuditEvent, end int64, err error) {
	f, err := os.Open(filepath.Join(c.auditDir(), "audit.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mark, fmt.Errorf("cluster %s has no audit log: make it with an audit policy", c.Name)
	}
	if err != nil {
		return nil, mark, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(mark, io.SeekStart); err != nil {
		return nil, mark, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, mark, err
	}
	events, n, err := parseAudit(b)
	return events, mark + n, err
}

func parseAudit(b []byte) (events []AuditEvent, consumed int64, err error) {
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return events, consumed, nil
		}
		var e AuditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return events, consumed, fmt.Errorf("audit log: %w", err)
		}
		events = append(events, e)
		consumed += int64(len(line)) + 1
		b = rest
	}
}
