package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// seize takes a Lease of the real API server, in tests in which nobody has to be waited for.
func seize(t *testing.T, name string) *Seized {
	t.Helper()
	s, err := Seize(t.Context(), Config{
		API: api, Namespace: "default", Name: name, Identity: "ender",
		Duration: 20 * time.Minute, RenewDeadline: 10 * time.Minute, RetryPeriod: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}

	return s
}

func (m *memory) seize(t *testing.T) *Seized {
	t.Helper()
	s, err := Seize(t.Context(), (&way{to: m}).config("ender"))
	if err != nil {
		t.Fatal(err)
	}

	return s
}

func leases(t *testing.T) typedcoordinationv1.LeaseInterface {
	t.Helper()
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		t.Fatal(err)
	}

	return client.CoordinationV1().Leases("default")
}

func TestASeizedLeaseIsActedOnOnlyAfterItsHolderHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		one := m.start(t, "one")
		leading := take(t, "the first leads", one.leads)
		two := m.start(t, "two")
		time.Sleep(time.Minute)
		s := m.seize(t)
		if s.Holder != "one" || s.Wait < Duration {
			t.Errorf("taken from %q, to wait for %s", s.Holder, s.Wait)
		}
		const leave = time.Minute
		acted := false
		if err := s.Hold(t.Context(), leave, func(ctx context.Context) error {
			acted = true
			if !errors.Is(context.Cause(leading), ErrLost) {
				t.Error("the former holder still acts")
			}

			return ctx.Err()
		}); err != nil || !acted {
			t.Fatalf("acted: %v, %v", acted, err)
		}
		left := time.Now()
		if err := take(t, "the first ends", one.done); !errors.Is(err, ErrLost) {
			t.Errorf("err = %v, want ErrLost", err)
		}
		if l := m.now(); !strings.HasSuffix(holder(l), ended) || *l.Spec.LeaseDurationSeconds != seconds(leave) {
			t.Errorf("left as %+v", l.Spec)
		}
		take(t, "the second leads at last", two.leads)
		if took := time.Since(left); took < leave {
			t.Errorf("another began %s after the agent was ended", took)
		}
	})
}

func TestASeizedLeaseOfAnActThatFailedGoesBackToTheReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		take(t, "the first leads", m.start(t, "one").leads)
		two := m.start(t, "two")
		failed := errors.New("it failed")
		err := m.seize(t).Hold(t.Context(), 24*time.Hour, func(context.Context) error { return failed })
		if !errors.Is(err, failed) {
			t.Errorf("err = %v", err)
		}
		take(t, "the second leads", two.leads)
	})
}

func TestNobodyIsWaitedForWhereNobodyHoldsTheLease(t *testing.T) {
	const name = "unheld"
	if exists, err := Exists(t.Context(), Config{API: api, Namespace: "default", Name: name}); exists || err != nil {
		t.Errorf("exists: %v %v", exists, err)
	}
	if s := seize(t, name); s.Holder != "" || s.Wait < s.c.Duration {
		t.Errorf("a lease that was missing may have been deleted under a holder: %q, %s", s.Holder, s.Wait)
	}
	if exists, err := Exists(t.Context(), Config{API: api, Namespace: "default", Name: name}); !exists || err != nil {
		t.Errorf("exists: %v %v", exists, err)
	}
	if _, err := leases(t).Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "as-installed"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as installed, and after it was ended
		s := seize(t, "as-installed")
		if s.Wait != 0 {
			t.Errorf("waits %s for %q", s.Wait, s.Holder)
		}
		if err := s.Hold(t.Context(), time.Hour, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	one := seize(t, "as-installed")
	if two := seize(t, "as-installed"); two.Wait < two.c.Duration || !strings.HasPrefix(two.Holder, "ender-") || two.Holder == *one.lease.Spec.HolderIdentity+ended {
		t.Errorf("one that may still end the agent: %q, %s", two.Holder, two.Wait)
	}
}

// A holder that is told to end may give up a Lease that it does not know to be another's.
func TestASeizedLeaseThatItsFormerHolderGaveUpIsTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		take(t, "the first leads", m.start(t, "one").leads)
		s := m.seize(t)
		m.touch(func(l *coordinationv1.LeaseSpec) { l.HolderIdentity, l.LeaseDurationSeconds = nil, new(int32(1)) })
		if err := s.Hold(t.Context(), time.Hour, func(context.Context) error {
			if h := m.holder(); h != s.c.Identity {
				t.Errorf("held by %q", h)
			}

			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestOneThatLosesASeizedLeaseIsToldToStop(t *testing.T) {
	if _, err := leases(t).Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "twice"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	one := seize(t, "twice")
	err := one.Hold(t.Context(), time.Hour, func(ctx context.Context) error {
		seize(t, "twice")
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrLost) {
			t.Errorf("cause = %v", context.Cause(ctx))
		}

		return ctx.Err()
	})
	if !errors.Is(err, ErrLost) {
		t.Errorf("err = %v, want ErrLost", err)
	}
}
