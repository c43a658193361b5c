package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

const (
	// ended is added to the holder of a Lease behind which nobody acts any more.
	ended = " (ended this agent)"
	tries = 5 // of one write, when others write the Lease at the same time
)

// Exists reports whether there is such a Lease at all.
func Exists(ctx context.Context, c Config) (bool, error) {
	c = c.withDefaults()
	client, err := kubernetes.NewForConfig(c.API)
	if err != nil {
		return false, fmt.Errorf("make a client: %w", err)
	}
	_, err = client.CoordinationV1().Leases(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("read Lease %s: %w", c.Name, err)
	}

	return err == nil, nil
}

// Seized is a Lease that was taken from its holder, who was not asked. It is for whoever ends an agent while its replicas
// run: none of them acts from then on. Its methods are called from one goroutine.
type Seized struct {
	// Holder is who had it; "": nobody.
	Holder string
	// Wait is for how long Holder may still act. It does not see at once that its Lease is gone.
	Wait time.Duration

	c     Config
	api   typedcoordinationv1.LeaseInterface
	lease *coordinationv1.Lease // as last written
}

// Seize takes the Lease from whoever holds it, and makes it if there is none. Config.Identity is what people see; it is made
// unique. Hold has to follow.
func Seize(ctx context.Context, c Config) (*Seized, error) {
	c = c.withDefaults()
	var raw [4]byte
	_, _ = rand.Read(raw[:]) // never fails
	c.Identity += "-" + hex.EncodeToString(raw[:])
	client, err := kubernetes.NewForConfig(c.API)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	s := &Seized{c: c, api: client.CoordinationV1().Leases(c.Namespace)}
	if err := s.take(ctx); err != nil {
		return nil, err
	}

	return s, nil
}

// take writes the Lease over whatever it says, by compare-and-swap: an elector that read it before fails to write.
func (s *Seized) take(ctx context.Context) error {
	var err error
	for range tries {
		if err = s.takeOnce(ctx); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("seize Lease %s: %w", s.c.Name, err)
	}

	return nil
}

func (s *Seized) takeOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.RenewDeadline)
	defer cancel()
	now := metav1.NowMicro()
	mine := coordinationv1.LeaseSpec{
		HolderIdentity: &s.c.Identity, LeaseDurationSeconds: new(seconds(s.c.Duration)), AcquireTime: &now, RenewTime: &now, LeaseTransitions: new(int32(0)),
	}
	was, err := s.api.Get(ctx, s.c.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: s.c.Name}, Spec: mine}
		if s.lease, err = s.api.Create(ctx, made, metav1.CreateOptions{}); err != nil {
			return err
		}
		// Somebody may have deleted it under a holder that acts until it sees that.
		s.Holder, s.Wait = "", s.outlast(0)

		return nil
	}
	if err != nil {
		return err
	}
	next := was.DeepCopy()
	next.Spec = mine
	if n := was.Spec.LeaseTransitions; n != nil {
		next.Spec.LeaseTransitions = new(*n + 1)
	}
	if s.lease, err = s.api.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return err
	}
	s.Holder, s.Wait = holder(was), 0
	if s.Holder != "" && !strings.HasSuffix(s.Holder, ended) {
		var theirs time.Duration
		if d := was.Spec.LeaseDurationSeconds; d != nil {
			theirs = time.Duration(*d) * time.Second
		}
		s.Wait = s.outlast(theirs)
	}

	return nil
}

// outlast is for how long one may act that renewed its Lease just before it was taken. It tries to renew a RetryPeriod
// later, gives up after RenewDeadline, and has ended when the Duration is over: theirs, or ours if that is longer.
func (s *Seized) outlast(theirs time.Duration) time.Duration {
	return max(theirs, s.c.Duration) + s.c.RetryPeriod
}

// Hold renews the Lease, waits until its former holder must have stopped, and then calls act, once. When act has returned
// without an error the Lease stays as it is for as long as leave says, so that no replica begins again before all of them
// are gone; nobody acts behind it. After an error it ends by itself, and one of the replicas goes on. It returns what act
// returned; ErrLost if somebody else took the Lease meanwhile: act's context has ended then.
func (s *Seized) Hold(ctx context.Context, leave time.Duration, act func(context.Context) error) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	holding, stop := context.WithCancelCause(ctx)
	renewing := make(chan error, 1)
	go func() {
		err := s.keep(holding)
		stop(err)
		renewing <- err
	}()
	err := act(holding)
	stop(nil)
	if lost := <-renewing; lost != nil {
		if err == nil {
			return lost
		}

		return fmt.Errorf("%w; and: %w", lost, err)
	}
	if err != nil {
		return err
	}

	return s.leave(ctx, leave)
}

// wait returns when the former holder must have stopped. A holder that ends in time gives the Lease up and may do so
// without having seen whose it is now; then it is taken again.
func (s *Seized) wait(ctx context.Context) error {
	tick := time.NewTicker(s.c.RetryPeriod)
	defer tick.Stop()
	over := time.NewTimer(s.Wait)
	defer over.Stop()
	renewed := time.Now()
	for {
		select {
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		switch err := s.renew(ctx, s.c.Identity, s.c.Duration); {
		case err == nil:
			renewed = time.Now()
		case errors.Is(err, ErrLost):
			if err := s.take(ctx); err != nil {
				return err
			}
			renewed = time.Now()
			over.Reset(s.Wait)
		case time.Since(renewed) > s.c.RenewDeadline:
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
}

// keep renews the Lease until ctx ends. It is an error if the Lease may be another's.
func (s *Seized) keep(ctx context.Context) error {
	tick := time.NewTicker(s.c.RetryPeriod)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := s.renew(ctx, s.c.Identity, s.c.Duration); {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLost):
			return err
		case time.Since(renewed) > s.c.RenewDeadline:
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
}

// leave writes the Lease for the last time.
func (s *Seized) leave(ctx context.Context, how time.Duration) error {
	if err := s.renew(context.WithoutCancel(ctx), s.c.Identity+ended, how); err != nil {
		return fmt.Errorf("leave Lease %s to its end: %w", s.c.Name, err)
	}

	return nil
}

// renew writes the Lease once more. It is ErrLost if another holds it, or nobody.
func (s *Seized) renew(ctx context.Context, as string, duration time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.RenewDeadline)
	defer cancel()
	var err error
	for range tries {
		next := s.lease.DeepCopy()
		next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds, next.Spec.RenewTime = &as, new(seconds(duration)), new(metav1.NowMicro())
		var now *coordinationv1.Lease
		if now, err = s.api.Update(ctx, next, metav1.UpdateOptions{}); err == nil {
			s.lease = now

			return nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
		if now, err = s.api.Get(ctx, s.c.Name, metav1.GetOptions{}); err != nil {
			break
		}
		of := holder(now)
		if of == as && as != s.c.Identity {
			return nil // its answer was lost
		}
		if of != s.c.Identity {
			return fmt.Errorf("%w: it is held by %q", ErrLost, of)
		}
		s.lease = now
	}
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w: it was deleted", ErrLost)
	}

	return err
}

func holder(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}

	return *l.Spec.HolderIdentity
}

// seconds are those of a Lease, which knows no parts of them.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
