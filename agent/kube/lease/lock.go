package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// errKept is why the elector may not write: what the Lease guards has not ended.
var errKept = errors.New("the lease is kept to its end")

// lock is the Lease as the elector sees it. It knows since when the Lease is held, by this process's clock, and keeps the
// elector from giving it up too soon. It says when the Lease cannot be read or written, once until it can: the elector's
// own words make an error of every race that a replica loses. Its methods may be called from any goroutine.
type lock struct {
	resourcelock.Interface

	log    *slog.Logger
	each   time.Duration // for one request
	closed chan struct{} // nothing is asked or written any more

	mu      sync.Mutex
	renewed time.Time // when the last write that made or kept this replica the holder was begun
	leaving bool      // what the Lease guards has ended: it may be given up
	failing bool      // the last request got no answer, or one that says more than who was first
}

func newLock(log *slog.Logger, each time.Duration, of resourcelock.Interface) *lock {
	return &lock{Interface: of, log: log, each: each, closed: make(chan struct{})}
}

// heard takes how a request ended.
func (l *lock) heard(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil: // the elector ends
		return
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err): // somebody else was first, or nobody yet
		err = nil
	}
	l.mu.Lock()
	was := l.failing
	l.failing = err != nil
	l.mu.Unlock()
	switch {
	case err != nil && !was:
		l.log.Warn("the lease cannot be read or written; it is tried again", telemetry.Err(err))
	case err == nil && was:
		l.log.Info("the lease can be read and written again")
	}
}

// left is for how long the Lease is held yet, if it is for d after a renewal.
func (l *lock) left(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()

	return time.Until(l.renewed.Add(d))
}

// leave allows to give the Lease up.
func (l *lock) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
}

// shut ends all requests, and has none begun. It is called once.
func (l *lock) shut() { close(l.closed) }

// bounded is ctx for one request.
func (l *lock) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := l.each
	l.mu.Lock()
	if l.leaving {
		limit = min(limit, releaseLimit)
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	go func() {
		select {
		case <-l.closed:
			cancel()
		case <-ctx.Done():
		}
	}()

	return ctx, cancel
}

// Get implements resourcelock.Interface.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	call, cancel := l.bounded(ctx)
	defer cancel()
	record, text, err := l.Interface.Get(call)
	l.heard(ctx, err)

	return record, text, err
}

// Create implements resourcelock.Interface.
func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Create)
}

// Update implements resourcelock.Interface.
func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Update)
}

func (l *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord, do func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	mine := r.HolderIdentity == l.Identity()
	l.mu.Lock()
	leaving := l.leaving
	l.mu.Unlock()
	if !mine && !leaving {
		return errKept
	}
	began := time.Now()
	call, cancel := l.bounded(ctx)
	defer cancel()
	err := do(call, r)
	if !mine {
		err = l.again(call, r, err)
	}
	l.heard(ctx, err)
	if err != nil || !mine {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = began

	return nil
}

// again gives the Lease up once more where that met a conflict while this replica is still the holder: the renewal that was
// under way when the elector was told to end was cut short at this side only, and the API server made it in between.
// err is how the last try ended.
func (l *lock) again(call context.Context, r resourcelock.LeaderElectionRecord, err error) error {
	for apierrors.IsConflict(err) {
		found, _, reading := l.Interface.Get(call)
		if reading != nil {
			return fmt.Errorf("%w; and read it again: %w", err, reading)
		}
		if found.HolderIdentity != l.Identity() {
			return err
		}
		err = l.Interface.Update(call, r)
	}

	return err
}
