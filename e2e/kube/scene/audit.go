package scene

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// request is a line of the API server's audit log.
type request struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Finished time.Time `json:"stageTimestamp"`
}

// Tally counts what one user asked of the API server.
type Tally struct {
	Requests int            // all but watches and renewals of leases
	Created  int            // objects that it made
	Lists    int            // of Requests
	Failed   int            // of Requests: answered with an error, but for the answer that something is not there
	Watches  int            // that ended; each is asked for again, every few minutes
	Leases   int            // requests about leases: their number does not grow with jobs
	By       map[string]int // of Requests, by verb and resource
}

// Audit counts what user asked in the time from one moment on, up to another.
func (c *Cluster) Audit(user string, from, to time.Time) (Tally, error) {
	log, err := os.Open(c.AuditLog)
	if err != nil {
		return Tally{}, fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = log.Close() }() // nothing was written
	return count(log, user, from, to)
}

// count reads an audit log to its last whole line.
func count(log io.Reader, user string, from, to time.Time) (Tally, error) {
	t := Tally{By: map[string]int{}}
	all, err := io.ReadAll(log)
	if err != nil {
		return t, fmt.Errorf("read the audit log: %w", err)
	}
	for line := range bytes.Lines(all) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // half of it is written
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return t, fmt.Errorf("read the audit log: %w", err)
		}
		at := r.Received
		if r.Verb == "watch" {
			at = r.Finished // it is not in the log before
		}
		if r.User.Username == user && !at.Before(from) && at.Before(to) {
			t.add(r)
		}
	}
	return t, nil
}

func (t *Tally) add(r request) {
	switch {
	case r.Verb == "watch":
		t.Watches++
		return
	case r.Object.Resource == "leases":
		t.Leases++
		return
	}
	t.Requests++
	if r.Verb == "list" {
		t.Lists++
	}
	if r.Status.Code >= 400 && !(r.Verb == "get" && r.Status.Code == 404) {
		t.Failed++
	}
	if r.Verb == "create" && r.Status.Code == 201 || r.Verb == "patch" && r.Status.Code == 201 {
		t.Created++
	}
	what := r.Object.Resource
	if r.Object.Subresource != "" {
		what += "/" + r.Object.Subresource
	}
	t.By[r.Verb+":"+what]++
}

// Words are the counts by verb and resource, the greatest first; "none" without any.
func (t Tally) Words() string {
	if len(t.By) == 0 {
		return "none"
	}
	keys := slices.SortedFunc(maps.Keys(t.By), func(a, b string) int { return cmp.Or(t.By[b]-t.By[a], cmp.Compare(a, b)) })
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = fmt.Sprintf("%s=%d", k, t.By[k])
	}
	return strings.Join(words, ",")
}
