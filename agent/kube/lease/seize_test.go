package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

func seize(t *testing.T, name string) *Seized {
	t.Helper()
	s, err := Seize(t.Context(), Config{
		API: api, Namespace: "default", Name: name, Identity: "ender",
		Duration: 4 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 300 * time.Millisecond,
	})
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
	one := start(t, "seized", "one")
	leading := take(t, "the first leads", one.leads)
	two := start(t, "seized", "two")
	s := seize(t, "seized")
	if s.Holder != "one" || s.Wait < 4*time.Second {
		t.Errorf("taken from %q, to wait for %s", s.Holder, s.Wait)
	}
	const leave = 5 * time.Second
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
	if l := lease(t, "seized"); !strings.HasSuffix(holder(l), ended) || *l.Spec.LeaseDurationSeconds != 5 {
		t.Errorf("left as %+v", l.Spec)
	}
	take(t, "the second leads at last", two.leads)
	if took := time.Since(left); took < leave-time.Second {
		t.Errorf("another began %s after the agent was ended", took)
	}
}

func TestASeizedLeaseOfAnActThatFailedGoesBackToTheReplicas(t *testing.T) {
	one := start(t, "failed", "one")
	take(t, "the first leads", one.leads)
	two := start(t, "failed", "two")
	failed := errors.New("it failed")
	err := seize(t, "failed").Hold(t.Context(), time.Hour, func(context.Context) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("err = %v", err)
	}
	take(t, "the second leads", two.leads)
}

func TestNobodyIsWaitedForWhereNobodyHoldsTheLease(t *testing.T) {
	const name = "unheld"
	if exists, err := Exists(t.Context(), Config{API: api, Namespace: "default", Name: name}); exists || err != nil {
		t.Errorf("exists: %v %v", exists, err)
	}
	if s := seize(t, name); s.Holder != "" || s.Wait < 4*time.Second {
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
	if two := seize(t, "as-installed"); two.Wait < 4*time.Second || !strings.HasPrefix(two.Holder, "ender-") || two.Holder == *one.lease.Spec.HolderIdentity+ended {
		t.Errorf("one that may still end the agent: %q, %s", two.Holder, two.Wait)
	}
}

// A holder that is told to end may give up a Lease that it does not know to be another's.
func TestASeizedLeaseThatItsFormerHolderGaveUpIsTakenAgain(t *testing.T) {
	one := start(t, "given-up", "one")
	take(t, "the first leads", one.leads)
	s := seize(t, "given-up")
	l := lease(t, "given-up")
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = nil, new(int32(1))
	if _, err := leases(t).Update(t.Context(), l, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(t.Context(), time.Hour, func(context.Context) error {
		if h := holder(lease(t, "given-up")); h != s.c.Identity {
			t.Errorf("held by %q", h)
		}

		return nil
	}); err != nil {
		t.Error(err)
	}
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
