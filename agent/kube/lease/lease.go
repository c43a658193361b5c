package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Defaults. The holder writes once a RetryPeriod: 360 times an hour, whatever number of jobs it looks after; of the tries
// between two renewals two may fail. Another replica takes over within a RetryPeriod of a clean stop, and within Duration
// and RetryPeriod of a death.
const (
	Duration      = 45 * time.Second
	RenewDeadline = 35 * time.Second
	RetryPeriod   = 10 * time.Second
)

// releaseLimit is how long the Lease is tried to be given up at the end. If that fails it ends by itself.
const releaseLimit = 5 * time.Second

// ErrLost says that the Lease could not be renewed in time: the process is to end.
var ErrLost = errors.New("the lease was lost")

// Config of a Lease. API, Namespace and Identity are required.
type Config struct {
	API       *rest.Config
	Namespace string
	Name      string // default: waterwheel-agent
	// Identity of this replica, as no other has it: the name of its pod. A process that starts again in the same pod goes
	// on with the Lease at once.
	Identity string
	// Duration is how long others wait for a holder that is silent, counted from when each of them last saw it renew.
	// RenewDeadline is when the holder stops, counted from the start of its last renewal that went well; it must be less.
	// RetryPeriod is the time between renewals, and between looks of those that wait; no try of a renewal takes longer.
	// Clocks need not agree: each side measures by its own.
	Duration, RenewDeadline, RetryPeriod time.Duration
	Logger                               *slog.Logger // default: none
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "waterwheel-agent")
	c.Duration = cmp.Or(c.Duration, Duration)
	c.RenewDeadline = cmp.Or(c.RenewDeadline, RenewDeadline)
	c.RetryPeriod = cmp.Or(c.RetryPeriod, RetryPeriod)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}

	return c
}

// Run waits until this replica holds the Lease and then calls lead, once. It returns what lead returned, after giving the
// Lease up; nil if ctx ended before; ErrLost if the Lease was lost: lead's context has ended then, and lead was waited for
// until the Lease may be another's, not longer.
func Run(ctx context.Context, c Config, lead func(context.Context) error) error {
	c = c.withDefaults()
	client, err := kubernetes.NewForConfig(c.API)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	log := c.Logger.With("lease", c.Name, "identity", c.Identity)
	t := &turn{
		c: c, log: log,
		won: make(chan struct{}), over: make(chan struct{}),
		lock: newLock(log, c.RetryPeriod, &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
			Client:    client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity},
		}),
	}
	// The elector lives longer than ctx: it gives the Lease up only after lead has returned.
	electing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: t.lock, LeaseDuration: c.Duration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
		ReleaseOnCancel: true, Name: c.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(t.won) },
			OnStoppedLeading: func() {},
			OnNewLeader: func(holder string) {
				if holder != c.Identity && holder != "" {
					t.log.Info("another replica acts; waiting", "holder", holder)
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s: %w", c.Name, err)
	}
	go func() {
		defer close(t.over)
		elector.Run(klog.NewContext(electing, logr.FromSlogHandler(detail{log.With("part", "client-go").Handler()})))
	}()
	defer func() { giveUp(); <-t.over }()
	select {
	case <-ctx.Done():
		t.lock.leave()
		return nil
	case <-t.won:
	}

	return t.lead(ctx, lead)
}

// turn is one time as the holder.
type turn struct {
	c    Config
	log  *slog.Logger
	lock *lock
	won  chan struct{} // closed when the Lease is held
	over chan struct{} // closed when the elector has ended
}

// lead runs what the holder runs, and no longer than the Lease is held. The elector alone would not do: it counts its
// deadline from the first try that fails, and ends only after it has tried to give the Lease up.
func (t *turn) lead(ctx context.Context, lead func(context.Context) error) error {
	t.log.Info("holds the lease")
	leading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()
	deadline := time.NewTimer(t.lock.left(t.c.RenewDeadline))
	defer deadline.Stop()
	for held := true; held; {
		select {
		case err := <-done:
			t.lock.leave()

			return err
		case <-t.over:
			held = false
		case <-deadline.C:
			left := t.lock.left(t.c.RenewDeadline)
			held = left > 0
			deadline.Reset(left)
		}
	}
	t.log.Error("the lease was lost; this process ends")
	stop(ErrLost)
	defer t.lock.shut() // it ends by itself
	limit := time.NewTimer(t.lock.left(t.c.Duration))
	defer limit.Stop()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%w; and: %w", ErrLost, err)
		}
	case <-limit.C:
	}

	return ErrLost
}
