package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// errKept is why the elector may not write: what the Lease guards has not ended.
var errKept = errors.New("the lease is kept to its end")

// lock is the Lease as the elector sees it. It knows since when the Lease is held, by this process's clock, and keeps the
// elector from giving it up too soon. Its methods may be called from any goroutine.
type lock struct {
	resourcelock.Interface

	each   time.Duration // for one request
	closed chan struct{} // nothing is asked or written any more

	mu      sync.Mutex
	renewed time.Time // when the last write that made or kept this replica the holder was begun
	leaving bool      // what the Lease guards has ended: it may be given up
}

func newLock(each time.Duration, of resourcelock.Interface) *lock {
	return &lock{Interface: of, each: each, closed: make(chan struct{})}
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
	ctx, cancel := l.bounded(ctx)
	defer cancel()

	return l.Interface.Get(ctx)
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
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	if err := do(ctx, r); err != nil || !mine {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = began

	return nil
}
