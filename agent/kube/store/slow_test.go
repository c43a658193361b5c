package store

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/flink"
)

// An API server that takes its time to write statuses does not keep a person's word from being heard.
func TestAHoldIsSeenWhileAStatusIsWrittenSlowly(t *testing.T) {
	p := newPlace(t)
	var slow atomic.Bool
	var once sync.Once
	stuck, answer := make(chan struct{}), make(chan struct{})
	p.o.API.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(r *http.Request) (*http.Response, error) {
			if slow.Load() && strings.HasSuffix(r.URL.Path, "/a/status") {
				once.Do(func() { close(stuck) })
				<-answer
			}

			return next.RoundTrip(r)
		})
	})
	s, _, stop := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 1, 1, 1)))
	slow.Store(true)
	s.PutStatus("a", flink.Status{State: flink.Running, Message: "runs"})
	await(t, "a's status is being written", func() bool {
		select {
		case <-stuck:
			return true
		default:
			return false
		}
	})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	defer close(answer)
	p.patch("b", `{"metadata":{"annotations":{"`+HoldAnnotation+`":"audit"}}}`)
	await(t, "the hold is seen", func() bool { return s.Holds("b") != nil })
}
