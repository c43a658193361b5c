package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// Dir returns the cache's directory of that name, and makes it.
func Dir(name string) (string, error) {
	base, err := flinkdist.DefaultCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, name)
	return dir, os.MkdirAll(dir, 0o755)
}

// Fill makes a file stand at path: the one that stands there already, or what
// fill writes to the path that it is given. That path is a free name in the same
// directory, and is renamed to path afterwards. One fill of a path runs at a time.
func Fill(ctx context.Context, path string, fill func(ctx context.Context, temporary string) error) (cached bool, err error) {
	if there, err := exists(path); there || err != nil {
		return there, err
	}
	unlock, err := Lock(ctx, path+".lock")
	if err != nil {
		return false, err
	}
	defer unlock()
	if there, err := exists(path); there || err != nil { // the one we waited for made it
		return there, err
	}
	temporary := path + ".unfinished"
	if err := os.RemoveAll(temporary); err != nil { // left by a process that was killed
		return false, err
	}
	defer os.RemoveAll(temporary)
	if err := fill(ctx, temporary); err != nil {
		return false, err
	}
	return false, os.Rename(temporary, path)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Lock takes the lock file at path, waiting for as long as ctx allows. The
// kernel gives the lock up when a process dies. The file stays: removing it would
// let two processes lock two files of one name.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("wait for %s: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Prune removes all but the newest keep files that match the pattern, with their
// lock files. Touch keeps a file new.
func Prune(pattern string, keep int) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	used := make(map[string]time.Time, len(paths))
	for _, path := range paths {
		st, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // another process prunes too
		}
		if err != nil {
			return err
		}
		used[path] = st.ModTime()
	}
	slices.SortStableFunc(paths, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, path := range paths[min(keep, len(paths)):] {
		if err := errors.Join(os.RemoveAll(path), os.RemoveAll(path+".lock")); err != nil {
			return err
		}
	}
	return nil
}

// Touch says that the file is in use.
func Touch(path string, now time.Time) error { return os.Chtimes(path, now, now) }
