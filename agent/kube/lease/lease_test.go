package lease

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
)

var api *rest.Config

const patience = 30 * time.Second

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
	cfg   Config
	leads chan context.Context // gets what lead was called with
	stop  context.CancelFunc
	leave chan error // what lead returns
	done  chan error // what Run returned
	cut   atomic.Bool
}

func start(t *testing.T, name, identity string) *replica {
	t.Helper()
	r := &replica{leads: make(chan context.Context, 1), leave: make(chan error, 1), done: make(chan error, 1)}
	cfg := rest.CopyConfig(api)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(req *http.Request) (*http.Response, error) {
			if r.cut.Load() {
				return nil, errors.New("the network is cut")
			}

			return next.RoundTrip(req)
		})
	})
	r.cfg = Config{
		API: cfg, Namespace: "default", Name: name, Identity: identity,
		Duration: 4 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 300 * time.Millisecond,
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	t.Cleanup(stop)
	go func() {
		r.done <- Run(ctx, r.cfg, func(ctx context.Context) error {
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

func lease(t *testing.T, name string) *coordinationv1.Lease {
	t.Helper()
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		t.Fatal(err)
	}
	l, err := client.CoordinationV1().Leases("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	return l
}

func TestAReplicaThatStopsHandsOverAtOnce(t *testing.T) {
	one := start(t, "handover", "one")
	take(t, "the first leads", one.leads)
	two := start(t, "handover", "two")
	if l := lease(t, "handover"); *l.Spec.HolderIdentity != "one" || *l.Spec.LeaseDurationSeconds != 4 {
		t.Errorf("lease = %+v", l.Spec)
	}
	began := time.Now()
	one.stop()
	if err := take(t, "the first ends", one.done); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
	take(t, "the second leads", two.leads)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took over after %s: the lease was not given up", took)
	}
	failed := errors.New("it failed")
	two.leave <- failed
	if err := take(t, "the second ends", two.done); !errors.Is(err, failed) {
		t.Errorf("err = %v", err)
	}
	if l := lease(t, "handover"); l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" {
		t.Errorf("lease = %+v, want no holder", l.Spec)
	}
}

func TestTheLeaseIsGivenUpOnlyAfterWhatItGuards(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	leads, told, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	end := make(chan struct{})
	go func() {
		done <- Run(ctx, Config{
			API: api, Namespace: "default", Name: "order", Identity: "one",
			Duration: 4 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 300 * time.Millisecond,
		}, func(ctx context.Context) error {
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
	if l := lease(t, "order"); *l.Spec.HolderIdentity != "one" {
		t.Errorf("lease = %+v: given up while its holder still works", l.Spec)
	}
	close(end)
	if err := take(t, "it ends", done); err != nil {
		t.Error(err)
	}
}

func TestAReplicaThatIsCutOffStopsBeforeAnotherBegins(t *testing.T) {
	one := start(t, "cut", "one")
	leading := take(t, "the first leads", one.leads)
	two := start(t, "cut", "two")
	one.cut.Store(true)
	select {
	case <-leading.Done():
	case <-two.leads:
		t.Fatal("two lead at the same time")
	case <-time.After(patience):
		t.Fatal("nothing happened")
	}
	if !errors.Is(context.Cause(leading), ErrLost) {
		t.Errorf("cause = %v", context.Cause(leading))
	}
	if err := take(t, "the first ends", one.done); !errors.Is(err, ErrLost) {
		t.Errorf("err = %v, want ErrLost", err)
	}
	take(t, "the second leads", two.leads)
}

func TestOneThatWaitsEndsWithItsContext(t *testing.T) {
	one := start(t, "wait", "one")
	take(t, "the first leads", one.leads)
	two := start(t, "wait", "two")
	two.stop()
	if err := take(t, "the second ends", two.done); err != nil {
		t.Error(err)
	}
	select {
	case <-two.leads:
		t.Error("it led")
	default:
	}
}
