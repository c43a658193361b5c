package flinkdist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrNoClient is returned when a distribution has to be downloaded and this
// machine has no package client that could do it. InstallPip may help.
var ErrNoClient = errors.New("no package client")

// Dist is an unpacked distribution. Its files are shared with other processes
// and must not be changed.
type Dist struct {
	Version string // full, as 2.3.0
	Home    string // absolute
	Lib     string // Home/lib: the jars; a class path of Lib/* runs Flink
	Cached  bool   // nothing was downloaded for this Dist
}

// Options says which distribution, and where to look. The zero value of every
// field but Version is fine.
type Options struct {
	Version  string              // "2.3.0", or "2.3" for the newest known patch
	Home     string              // an unpacked distribution; must be of that version
	CacheDir string              // default: DefaultCacheDir
	Progress func(line string)   // told what takes time; may be called from another goroutine
	Getenv   func(string) string // default: os.Getenv
	Download Download            // default: the machine's pip, else its Maven
}

// Download puts the archive into dir and returns its path. It need not check it.
// It returns an error that is ErrNoClient when it has no means to try.
type Download func(ctx context.Context, a Archive, dir string) (path string, err error)

// DefaultCacheDir is the cache that all of one user's worlds share.
func DefaultCacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(base, "waterwheel"), nil
}

// Cached returns the distribution if it is there without a download: from
// FLINK_HOME if that is of the wanted version, from Options.Home, or the cache.
// Of these it takes the first; ok is false if there is none.
func Cached(opts Options) (d Dist, ok bool, err error) {
	f, err := newFetcher(opts, releases)
	if err != nil {
		return Dist{}, false, err
	}
	return f.present()
}

// Fetch returns the distribution, from where Cached finds it or by a download
// into the cache, which takes some ten seconds to minutes and 0.6 GB of disk, of
// which half stays. Safe to call from many goroutines and processes.
func Fetch(ctx context.Context, opts Options) (Dist, error) {
	f, err := newFetcher(opts, releases)
	if err != nil {
		return Dist{}, err
	}
	f.pauses = pauses()
	return f.fetch(ctx)
}

// fetcher is one Fetch with its defaults filled in.
type fetcher struct {
	Options
	release release
	root    string          // holds one directory for each version
	pauses  []time.Duration // before a download is tried again
}

func pauses() []time.Duration { return []time.Duration{5 * time.Second, 30 * time.Second} }

// retry does what needs a registry again while it fails: a connection may break, and a mirror may be away for a moment.
func (f *fetcher) retry(ctx context.Context, do func() error) error {
	for _, pause := range f.pauses {
		err := do()
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoClient) {
			return err
		}
		f.Progress(fmt.Sprintf("%v: again in %s", err, pause))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return do()
}

func newFetcher(opts Options, table []release) (*fetcher, error) {
	r, err := find(table, opts.Version)
	if err != nil {
		return nil, err
	}
	if opts.CacheDir == "" {
		if opts.CacheDir, err = DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	if opts.CacheDir, err = filepath.Abs(opts.CacheDir); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	f := &fetcher{Options: opts, release: r, root: filepath.Join(opts.CacheDir, "flink")}
	if f.Download == nil {
		f.Download = f.pip
	}
	return f, nil
}

func (f *fetcher) present() (Dist, bool, error) {
	v := f.release.version
	if home := f.Getenv("FLINK_HOME"); home != "" {
		if d, ok := open(home, v); ok {
			return d, true, nil
		}
		f.Progress(fmt.Sprintf("FLINK_HOME=%s is not Flink %s: not used", home, v))
	}
	if f.Home != "" {
		d, ok := open(f.Home, v)
		if !ok {
			return Dist{}, false, fmt.Errorf("%s is not an unpacked Flink %s: no lib/flink-dist-%s.jar in it", f.Home, v, v)
		}
		return d, true, nil
	}
	d, ok := open(f.target(), v)
	return d, ok, nil
}

// target is the place of the distribution in the cache.
func (f *fetcher) target() string { return filepath.Join(f.root, f.release.version) }

func (f *fetcher) fetch(ctx context.Context) (Dist, error) {
	v := f.release.version
	if d, ok, err := f.present(); ok || err != nil {
		return d, err
	}
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		return Dist{}, fmt.Errorf("fetch flink %s: %w", v, err)
	}
	unlock, err := lock(ctx, f.target()+".lock", func() { f.Progress("waiting for another process that fetches Flink " + v) })
	if err != nil {
		return Dist{}, fmt.Errorf("fetch flink %s: %w", v, err)
	}
	defer unlock()
	if d, ok := open(f.target(), v); ok { // the one we waited for was fetching it
		return d, nil
	}
	if err := f.fill(ctx); err != nil {
		return Dist{}, fmt.Errorf("fetch flink %s: %w", v, err)
	}
	d, _ := open(f.target(), v)
	d.Cached = false
	return d, nil
}

// fill brings the distribution into the cache. The caller holds the lock, so
// work directories found here were left by processes that were killed.
func (f *fetcher) fill(ctx context.Context) error {
	v := f.release.version
	prefix := ".fetch-" + v + "-"
	left, err := filepath.Glob(filepath.Join(f.root, prefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp(f.root, prefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	home := filepath.Join(work, "home")
	if err := os.MkdirAll(filepath.Join(home, "lib"), 0o755); err != nil {
		return err
	}
	err = f.fromArchive(ctx, work, filepath.Join(home, "lib"))
	if errors.Is(err, ErrNoClient) && f.release.maven != "" {
		f.Progress("no pip here: trying Maven")
		err = f.fromMaven(ctx, work, filepath.Join(home, "lib"))
	}
	if err != nil {
		return err
	}
	if _, ok := open(home, v); !ok {
		return fmt.Errorf("what was downloaded holds no lib/flink-dist-%s.jar", v)
	}
	if err := os.RemoveAll(f.target()); err != nil { // incomplete, or open would have taken it
		return err
	}
	return os.Rename(home, f.target())
}

// fromArchive downloads, checks and unpacks the archive.
func (f *fetcher) fromArchive(ctx context.Context, work, lib string) error {
	a := f.release.archive
	var path string
	var began time.Time
	err := f.retry(ctx, func() error {
		dir, err := os.MkdirTemp(work, "download-")
		if err != nil {
			return err
		}
		began = time.Now()
		if path, err = f.Download(ctx, a, dir); err != nil {
			return err
		}
		f.Progress(fmt.Sprintf("downloaded %s, %d MB in %.1f s", a.File, a.Bytes/1e6, time.Since(began).Seconds()))
		began = time.Now()
		return verify(ctx, path, a.SHA256)
	})
	if err != nil {
		return err
	}
	n, err := unpack(ctx, path, a.lib, lib)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", a.File, err)
	}
	f.Progress(fmt.Sprintf("checked and unpacked it, %d MB in %.1f s", n/1e6, time.Since(began).Seconds()))
	return nil
}

// open takes home as a distribution if it is one of that version. flink-runtime
// stands for flink-dist where the jars come from Maven one by one.
func open(home, version string) (Dist, bool) {
	home, err := filepath.Abs(home)
	if err != nil {
		return Dist{}, false
	}
	lib := filepath.Join(home, "lib")
	for _, jar := range []string{"flink-dist-", "flink-runtime-"} {
		if st, err := os.Stat(filepath.Join(lib, jar+version+".jar")); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			return Dist{Version: version, Home: home, Lib: lib, Cached: true}, true
		}
	}
	return Dist{}, false
}
