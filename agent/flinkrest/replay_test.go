package flinkrest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
)

// Job ids and trigger ids of the recordings.
const (
	job1 = "11111111111111111111111111111111"
	job2 = "22222222222222222222222222222222"
	job3 = "33333333333333333333333333333333"
	job7 = "77777777777777777777777777777777"
	trig = "55555555555555555555555555555555"
)

var versions = []string{"1.20.5", "2.3.0"}

// answer is one REST answer, recorded or written by hand.
type answer struct {
	status int
	body   string
	hang   bool // no answer until the client goes away
}

// world is a JobManager made of answers, keyed by method and path with ids as ID.
type world struct {
	t       *testing.T
	version string
	mu      sync.Mutex
	answers map[string]answer
	asked   []string
	bodies  map[string]string
	*httptest.Server
}

var anyID = regexp.MustCompile(`[0-9a-f]{32}`)

func newWorld(t *testing.T, version string) *world {
	w := &world{t: t, version: version, answers: map[string]answer{}, bodies: map[string]string{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	key := req.Method + " " + anyID.ReplaceAllString(req.URL.RequestURI(), "ID")
	w.mu.Lock()
	a, ok := w.answers[key]
	w.asked = append(w.asked, key)
	w.bodies[key] = string(body)
	w.mu.Unlock()
	switch {
	case !ok:
		http.Error(rw, `{"errors":["Not found: `+key+`"]}`, http.StatusNotFound)
	case a.hang:
		<-req.Context().Done()
	default:
		if a.status == http.StatusFound {
			rw.Header().Set("Location", w.URL+"/elsewhere")
		}
		rw.WriteHeader(a.status)
		_, _ = io.WriteString(rw, a.body)
	}
}

// recorded serves a recording under the request it was recorded with, or under another.
func (w *world) recorded(name string, as ...string) *world {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "fixtures", w.version, name+".json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var f struct {
		Request  string
		Status   int
		Response json.RawMessage
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		w.t.Fatal(err)
	}
	key := anyID.ReplaceAllString(f.Request, "ID")
	if strings.Contains(key, "/exceptions") {
		key = "GET /jobs/ID/exceptions?maxExceptions=1"
	}
	if strings.Contains(key, "/metrics?") {
		key = "GET /jobs/ID/metrics?get=numRestarts"
	}
	for _, a := range as {
		key = a
	}
	w.answers[key] = answer{status: f.Status, body: string(f.Response)}
	return w
}

// says serves an answer written by hand.
func (w *world) says(key string, status int, body string) *world {
	w.answers[key] = answer{status: status, body: body}
	return w
}

func (w *world) hangs(key string) *world {
	w.answers[key] = answer{hang: true}
	return w
}

func (w *world) count(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, k := range w.asked {
		if k == key {
			n++
		}
	}
	return n
}

func (w *world) body(key string) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	var m map[string]any
	if err := json.Unmarshal([]byte(w.bodies[key]), &m); err != nil {
		w.t.Fatalf("%s: body %q: %v", key, w.bodies[key], err)
	}
	return m
}

// errorsBody is Flink's form of an error with a stack.
func errorsBody(texts ...string) string {
	raw, _ := json.Marshal(map[string]any{"errors": texts})
	return string(raw)
}

func client() *flinkrest.Client {
	return flinkrest.New(flinkrest.Config{Timeout: time.Minute, ObserveTimeout: 3 * time.Minute})
}

// patiently lets false time pass for what hangs. The client has the times of an agent, and no network in between.
func (w *world) patiently(t *testing.T, do func(t *testing.T, c *flinkrest.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		do(t, flinkrest.New(flinkrest.Config{HTTP: &http.Client{Transport: straight{w}}}))
	})
}

// straight has a handler answer without a network.
type straight struct{ http.Handler }

func (s straight) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}
