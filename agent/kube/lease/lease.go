package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Defaults. The holder writes once a RetryPeriod: 240 times an hour, whatever number of jobs it looks after. Another
// replica takes over within a RetryPeriod of a clean stop, and within Duration and RetryPeriod of a death.
const (
	Duration      = 45 * time.Second
	RenewDeadline = 30 * time.Second
	RetryPeriod   = 15 * time.Second
)

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
	// Duration is how long others wait for a holder that is silent. RenewDeadline is when the holder stops, without a
	// renewal; it must be less. RetryPeriod is the time between renewals, and between looks of those that wait.
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
	t := &turn{
		log: c.Logger.With("lease", c.Name, "identity", c.Identity),
		won: make(chan struct{}), over: make(chan struct{}),
	}
	// The elector lives longer than ctx: it gives the Lease up only after lead has returned.
	electing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
			Client:    client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity},
		},
		LeaseDuration: c.Duration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
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
		elector.Run(electing)
	}()
	defer func() { giveUp(); <-t.over }()
	select {
	case <-ctx.Done():
		return nil
	case <-t.won:
	}

	return t.lead(ctx, lead, c.Duration-c.RenewDeadline)
}

// turn is one time as the holder.
type turn struct {
	log  *slog.Logger
	won  chan struct{} // closed when the Lease is held
	over chan struct{} // closed when the elector has ended
}

// lead runs what the holder runs. grace is how long it may take to stop once the Lease was lost.
func (t *turn) lead(ctx context.Context, lead func(context.Context) error, grace time.Duration) error {
	t.log.Info("holds the lease")
	leading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()
	select {
	case err := <-done:
		return err
	case <-t.over:
	}
	t.log.Error("the lease was lost; this process ends")
	stop(ErrLost)
	limit := time.NewTimer(grace)
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
