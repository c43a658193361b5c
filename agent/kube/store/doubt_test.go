package store

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
)

// refusing is an API server that lets nobody write the object of one job, as a policy of its cluster may.
func refusing(next http.RoundTripper, name string, on *atomic.Bool) http.RoundTripper {
	return tripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet || r.Body == nil || !on.Load() {
			return next.RoundTrip(r)
		}
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
		if !bytes.Contains(sent, []byte(`"kind":"FlinkJob"`)) || !bytes.Contains(sent, []byte(`"name":"`+name+`"`)) {
			return next.RoundTrip(r)
		}
		no := text(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "the policy of this cluster says no",
		})

		return &http.Response{
			StatusCode: http.StatusForbidden, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(no)),
		}, nil
	})
}

func TestAnObjectThatCannotBePutBackCostsItsOwnJobAlone(t *testing.T) {
	p := newPlace(t)
	var refuse atomic.Bool
	p.o.API.Wrap(func(next http.RoundTripper) http.RoundTripper { return refusing(next, "a", &refuse) })
	s := p.open()
	record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))
	save(t, s, "a", memory(1, 1))
	before := s.Standing()

	refuse.Store(true)
	p.delete("a")
	s.Doubt(errors.New("somebody else may have written"))
	if uids, err := s.Jobs(t.Context()); err != nil || !slices.Equal(uids, []string{"a", "b"}) {
		t.Fatalf("jobs %v, %v", uids, err)
	}
	if _, ok, err := s.Load(t.Context(), "b"); err != nil || !ok {
		t.Errorf("the other job: %v %v", ok, err)
	}
	save(t, s, "b", memory(1, 1))
	if _, _, err := s.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "job a is in doubt") || !strings.Contains(err.Error(), "says no") {
		t.Errorf("the job in doubt: %v, want that, and why", err)
	}
	if err := s.SaveMemory(t.Context(), "a", memory(2, 2)); err == nil {
		t.Error("what is in doubt is written over")
	}
	if got := s.Standing(); got.Root != before.Root || got.Count != before.Count {
		t.Errorf("the hub is told that a job is gone: %+v, want %+v", got, before)
	}

	refuse.Store(false)
	await(t, "the job can be acted upon again, as it was", func() bool {
		rec, ok, err := s.Load(t.Context(), "a")

		return err == nil && ok && rec.Memory.LastRun == 1
	})
	if o := p.object("a"); !o.Spec.whole() || !o.Status.Agent.whole() {
		t.Error("its object is not what it was")
	}
	save(t, s, "a", memory(2, 2))
}

// A place that cannot be reached is no matter of one job: nothing can be said of any.
func TestAPlaceOutOfReachIsNoMatterOfOneJob(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	record(t, s, recordstest.Frame(2, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))
	p.delete("a")
	p.calls.die(0, false)
	s.Doubt(errors.New("somebody else may have written"))
	if _, _, err := s.Load(t.Context(), "b"); !errors.Is(err, errDied) {
		t.Errorf("err = %v, want that of the connection", err)
	}
	p.calls.live()
	await(t, "both are sure again", func() bool {
		_, a, errA := s.Load(t.Context(), "a")
		_, b, errB := s.Load(t.Context(), "b")

		return a && b && errA == nil && errB == nil
	})
}
