package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// memory is one Lease of an API server, with compare-and-swap: for what happens by the clock alone.
type memory struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
}

func (m *memory) serve(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer := func(code int, v any) (*http.Response, error) {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}

		return &http.Response{StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text))}, nil
	}
	no := func(code int, why metav1.StatusReason) (*http.Response, error) {
		return answer(code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: why})
	}
	if r.Method == http.MethodGet {
		if m.lease == nil {
			return no(http.StatusNotFound, metav1.StatusReasonNotFound)
		}

		return answer(http.StatusOK, m.lease)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var next coordinationv1.Lease
	if err := json.Unmarshal(text, &next); err != nil {
		return nil, err
	}
	if m.lease != nil && next.ResourceVersion != m.lease.ResourceVersion {
		return no(http.StatusConflict, metav1.StatusReasonConflict)
	}
	m.version++
	next.TypeMeta = metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"}
	next.ResourceVersion = strconv.Itoa(m.version)
	m.lease = &next

	return answer(http.StatusOK, m.lease)
}

// touch is a write of somebody else.
func (m *memory) touch(changes ...func(*coordinationv1.LeaseSpec)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.lease.DeepCopy()
	for _, change := range changes {
		change(&next.Spec)
	}
	m.version++
	next.ResourceVersion = strconv.Itoa(m.version)
	m.lease = next
}

// now is the Lease as it is.
func (m *memory) now() *coordinationv1.Lease {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.lease.DeepCopy()
}

func (m *memory) holder() string { return holder(m.now()) }

// way is one replica's way to the API server.
type way struct {
	to *memory

	mu    sync.Mutex
	state string // "": open; "cut": refuses; "silent": no answer; "raced": another writes first; "late": see there
	late  *http.Request
	last  time.Time
}

func (w *way) set(state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
}

// RoundTrip implements http.RoundTripper.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	state, began := w.state, time.Now()
	w.mu.Unlock()
	switch state {
	case "cut":
		return nil, errors.New("the network is cut")
	case "silent":
		<-r.Context().Done()

		return nil, context.Cause(r.Context())
	case "raced":
		if r.Method != http.MethodGet {
			w.to.touch()
		}
	case "late":
		return w.lag(r)
	}
	a, err := w.to.serve(r)
	if err == nil && r.Method != http.MethodGet && a.StatusCode == http.StatusOK {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.last = began
	}

	return a, err
}

// lag has the API server make the first write only after its asker has given up on it, and has read the Lease once more.
func (w *way) lag(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	late := w.late
	if late == nil && r.Method != http.MethodGet {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			w.mu.Unlock()

			return nil, err
		}
		w.late = r.Clone(context.WithoutCancel(r.Context()))
		w.late.Body = io.NopCloser(bytes.NewReader(text))
		w.mu.Unlock()
		<-r.Context().Done()

		return nil, context.Cause(r.Context())
	}
	w.mu.Unlock()
	a, err := w.to.serve(r)
	if err != nil || late == nil {
		return a, err
	}
	w.set("")
	_, err = w.to.serve(late)

	return a, err
}

func (w *way) renewed() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.last
}

func (w *way) config(identity string) Config {
	return Config{API: &rest.Config{
		Host: "http://api.invalid", Transport: w, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}, Namespace: "default", Identity: identity}
}

// Whatever is wrong with the way to the API server, and however long the holder takes to stop: it is told RenewDeadline
// after its last renewal, is not waited for once the Lease may be another's, and no other begins before.
func TestAHolderStopsBeforeItsDeadlineHoweverTheAPIServerIsAway(t *testing.T) {
	for _, state := range []string{"cut", "silent"} {
		for _, stops := range []time.Duration{0, 9 * time.Second, time.Hour} {
			t.Run(state+" and stops in "+stops.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := &memory{}
					one, two := &way{to: m}, &way{to: m}
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					leads, told, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
					go func() {
						first <- Run(ctx, one.config("one"), func(ctx context.Context) error {
							close(leads)
							<-ctx.Done()
							close(told)
							time.Sleep(stops)

							return nil
						})
					}()
					<-leads
					began, second := make(chan struct{}), make(chan error, 1)
					go func() {
						second <- Run(ctx, two.config("two"), func(ctx context.Context) error {
							close(began)
							<-ctx.Done()

							return nil
						})
					}()
					time.Sleep(5*RetryPeriod + time.Second)
					one.set(state)
					<-told
					if after := time.Since(one.renewed()); after > RenewDeadline {
						t.Errorf("told to stop %s after its last renewal, want %s at most", after, RenewDeadline)
					}
					if err := <-first; !errors.Is(err, ErrLost) {
						t.Errorf("err = %v, want ErrLost", err)
					}
					if after := time.Since(one.renewed()); after > Duration {
						t.Errorf("ended %s after its last renewal: the lease may be another's after %s", after, Duration)
					}
					select {
					case <-began:
						t.Error("another began before this one had ended")
					default:
					}
					<-began
					if after := time.Since(one.renewed()); after < Duration {
						t.Errorf("another began %s after the last renewal", after)
					}
					stop()
					<-second
					if stops == time.Hour {
						time.Sleep(stops)
					}
				})
			})
		}
	}
}

// The API server is back just when the holder has been told to stop: the Lease is not given up before it has.
func TestALostLeaseIsNotGivenUpWhileItsHolderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w := &way{to: m}
		leads, told, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			first <- Run(t.Context(), w.config("one"), func(ctx context.Context) error {
				close(leads)
				<-ctx.Done()
				close(told)
				time.Sleep(8 * time.Second)
				if h := m.holder(); h != "one" {
					t.Errorf("held by %q while its holder stops", h)
				}

				return nil
			})
		}()
		<-leads
		w.set("cut")
		<-told
		w.set("")
		if err := <-first; !errors.Is(err, ErrLost) {
			t.Errorf("err = %v, want ErrLost", err)
		}
	})
}

// A renewal that was under way at the end is made by the API server all the same: the Lease is given up after it.
func TestALeaseIsGivenUpOverARenewalThatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w := &way{to: m}
		ctx, stop := context.WithCancel(t.Context())
		leads, first := make(chan struct{}), make(chan error, 1)
		go func() {
			first <- Run(ctx, w.config("one"), func(ctx context.Context) error {
				close(leads)
				<-ctx.Done()

				return nil
			})
		}()
		<-leads
		w.set("late")
		time.Sleep(RetryPeriod + time.Second)
		synctest.Wait()
		stop()
		if err := <-first; err != nil {
			t.Error(err)
		}
		if h := m.holder(); h != "" {
			t.Errorf("held by %q after its holder has ended", h)
		}
		if w.late == nil {
			t.Error("no renewal was under way")
		}
	})
}

// Two tries in a row that fail cost nothing.
func TestARenewalThatFailsTwiceIsTriedAgain(t *testing.T) {
	for _, state := range []string{"cut", "silent"} {
		synctest.Test(t, func(t *testing.T) {
			w := &way{to: &memory{}}
			ctx, stop := context.WithCancel(t.Context())
			leads, first := make(chan struct{}), make(chan error, 1)
			go func() {
				first <- Run(ctx, w.config("one"), func(ctx context.Context) error {
					close(leads)
					<-ctx.Done()

					return context.Cause(ctx)
				})
			}()
			<-leads
			for range 5 {
				w.set(state)
				time.Sleep(RetryPeriod + RetryPeriod/2)
				w.set("")
				time.Sleep(2 * RetryPeriod)
			}
			stop()
			if err := <-first; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: err = %v, want that of its context", state, err)
			}
		})
	}
}
