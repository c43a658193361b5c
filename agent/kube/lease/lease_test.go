package lease

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
)

var api *rest.Config

const patience = 2 * time.Minute

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) int {
	server, err := apiserver.Start(context.Background(), apiserver.Options{}) //nolint:forbidigo // it is for all tests
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if api, err = clientcmd.BuildConfigFromFlags("", server.Kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}
	api.QPS = -1

	return m.Run()
}

// replica is one that wants the lease.
type replica struct {
	leads chan context.Context // gets what lead was called with
	stop  context.CancelFunc
	leave chan error // what lead returns
	done  chan error // what Run returned
}

func start(t *testing.T, c Config) *replica {
	t.Helper()
	r := &replica{leads: make(chan context.Context, 1), leave: make(chan error, 1), done: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	t.Cleanup(stop)
	go func() {
		r.done <- Run(ctx, c, func(ctx context.Context) error {
			r.leads <- ctx
			select {
			case err := <-r.leave:
				return err
			case <-ctx.Done():
				return nil
			}
		})
	}()

	return r
}

// start is a replica that wants this Lease.
func (m *memory) start(t *testing.T, identity string) *replica {
	t.Helper()

	return start(t, (&way{to: m}).config(identity))
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func take[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
	}
	panic("unreachable")
}

// The real API server is asked by nothing that goes by the clock: however long it takes to answer, no deadline counts.
func TestARealAPIServerKeepsTheLeaseAndTakesItBack(t *testing.T) {
	cfg := rest.CopyConfig(api)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(r *http.Request) (*http.Response, error) {
			return next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
		})
	})
	replicas := func(identity string) *replica {
		return start(t, Config{
			API: cfg, Namespace: "default", Name: "handover", Identity: identity,
			Duration: 10 * time.Hour, RenewDeadline: 9 * time.Hour, RetryPeriod: time.Hour,
		})
	}
	held := func() string {
		t.Helper()
		l, err := leases(t).Get(t.Context(), "handover", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *l.Spec.LeaseDurationSeconds != 36000 && holder(l) != "" {
			t.Errorf("lease = %+v", l.Spec)
		}

		return holder(l)
	}
	one := replicas("one")
	take(t, "the first leads", one.leads)
	if h := held(); h != "one" {
		t.Errorf("held by %q", h)
	}
	one.stop()
	if err := take(t, "the first ends", one.done); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
	if h := held(); h != "" {
		t.Errorf("held by %q after its holder has ended", h)
	}
	two, failed := replicas("two"), errors.New("it failed")
	take(t, "the second leads", two.leads)
	two.leave <- failed
	if err := take(t, "the second ends", two.done); !errors.Is(err, failed) {
		t.Errorf("err = %v", err)
	}
	if h := held(); h != "" {
		t.Errorf("held by %q after what it guards has failed", h)
	}
}

func TestAReplicaThatStopsHandsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		one := m.start(t, "one")
		take(t, "the first leads", one.leads)
		two := m.start(t, "two")
		if l := m.now(); holder(l) != "one" || *l.Spec.LeaseDurationSeconds != seconds(Duration) {
			t.Errorf("lease = %+v", l.Spec)
		}
		time.Sleep(time.Minute)
		began := time.Now()
		one.stop()
		if err := take(t, "the first ends", one.done); err != nil {
			t.Errorf("a clean stop: %v", err)
		}
		take(t, "the second leads", two.leads)
		if took := time.Since(began); took > 3*RetryPeriod { // looks are spread over more than one
			t.Errorf("took over after %s: the lease was not given up", took)
		}
	})
}

func TestTheLeaseIsGivenUpOnlyAfterWhatItGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		ctx, stop := context.WithCancel(t.Context())
		leads, told, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		end := make(chan struct{})
		go func() {
			done <- Run(ctx, (&way{to: m}).config("one"), func(ctx context.Context) error {
				close(leads)
				<-ctx.Done()
				close(told)
				<-end

				return nil
			})
		}()
		take(t, "it leads", leads)
		stop()
		take(t, "it is told to stop", told)
		time.Sleep(2 * Duration)
		if h := m.holder(); h != "one" {
			t.Errorf("held by %q while its holder still works", h)
		}
		close(end)
		if err := take(t, "it ends", done); err != nil {
			t.Error(err)
		}
		if h := m.holder(); h != "" {
			t.Errorf("held by %q after its holder has ended", h)
		}
	})
}

func TestOneThatWaitsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		take(t, "the first leads", m.start(t, "one").leads)
		two := m.start(t, "two")
		time.Sleep(2 * Duration)
		two.stop()
		if err := take(t, "the second ends", two.done); err != nil {
			t.Error(err)
		}
		select {
		case <-two.leads:
			t.Error("it led")
		default:
		}
	})
}
