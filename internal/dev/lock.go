package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("held by another process")

// lock takes a lock file, which its holder's end gives back, however it ends.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, errLocked)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// waitLock is lock, waiting for its turn.
func waitLock(ctx context.Context, path string) (unlock func(), err error) {
	err = poll(ctx, func() (bool, error) {
		unlock, err = lock(path)
		if errors.Is(err, errLocked) {
			return false, nil
		}
		return true, err
	})
	return unlock, err
}

// poll asks again, ten times a second, until done, an error, or the end of ctx.
func poll(ctx context.Context, ask func() (done bool, err error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
