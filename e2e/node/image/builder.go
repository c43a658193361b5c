package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

// Builder makes node images.
type Builder struct {
	// Programs gives what runs in the node.
	Programs *programs.Cache
	// Recipe is this package's source: another recipe, another image.
	Recipe fs.FS
	// Root is where archives are kept.
	Root string
	// Progress is told what goes on, a line at a time; nil for silence.
	Progress func(line string)
}

// Archive is a built node image.
type Archive struct {
	Path   string // a root file system: tar, zstd
	Ref    string // the name it is loaded by
	Cached bool   // it was there before
}

// step is one part of the work, with how long it takes on a cold machine.
type step struct {
	name  string
	about time.Duration
	run   func(context.Context) error
}

// work is one build: everything it makes is below dir.
type work struct {
	*Builder
	dir   string // of this build alone
	bin   string // the programs
	base  string // archive of the Debian base
	files string // kind's node files
	out   string // the finished archive
}

func (w *work) rootfs() string { return filepath.Join(w.dir, "rootfs") }
func (w *work) images() string { return filepath.Join(w.dir, "images") }

// Build returns the image, making it when there is none of this content.
func (b *Builder) Build(ctx context.Context) (Archive, error) {
	key, err := b.key()
	if err != nil {
		return Archive{}, err
	}
	a := Archive{Path: filepath.Join(b.Root, key+".tar.zst"), Ref: "waterwheel/node:" + key}
	if programs.Use(a.Path) {
		a.Cached = true
		return a, nil
	}
	if err := os.MkdirAll(b.Root, 0o755); err != nil {
		return Archive{}, err
	}
	unlock, err := programs.Lock(ctx, filepath.Join(b.Root, "lock"))
	if err != nil {
		return Archive{}, err
	}
	defer unlock()
	if _, err := os.Stat(a.Path); err == nil {
		a.Cached = true
		return a, nil
	}
	if err := requireTools(ctx, b.say); err != nil {
		return Archive{}, err
	}
	if err := b.sweep(); err != nil {
		return Archive{}, err
	}
	dir, err := os.MkdirTemp(b.Root, "half-")
	if err != nil {
		return Archive{}, err
	}
	defer func() { _ = discard(dir) }()
	w := &work{Builder: b, dir: dir, out: a.Path}
	if err := b.follow(ctx, w.steps()); err != nil {
		return Archive{}, err
	}
	return a, programs.Prune(b.Root, "*.tar.zst", a.Path)
}

func (w *work) steps() []step {
	return []step{
		{"programs and Debian base", 8 * time.Minute, w.gather},
		{"base unpacked", 5 * time.Second, w.unpack},
		{"node files", 3 * time.Second, w.furnish},
		{"images of Kubernetes", 12 * time.Second, w.makeImages},
		{"images preloaded", 3 * time.Second, w.preload},
		{"archive", 20 * time.Second, w.pack},
	}
}

func (b *Builder) follow(ctx context.Context, steps []step) error {
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.say("step %d/%d %s (cold about %s)", i+1, len(steps), s.name, s.about)
		began := time.Now()
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("node image: %s: %w", s.name, err)
		}
		next := "done"
		if i+1 < len(steps) {
			next = steps[i+1].name
		}
		b.say("step %d/%d %s: %.1f s; next: %s", i+1, len(steps), s.name, time.Since(began).Seconds(), next)
	}
	return nil
}

// gather gets what needs the network and the compiler, side by side: the one
// waits for packages while the other computes.
func (w *work) gather(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		w.bin, err = w.Programs.Ensure(ctx, programs.Names()...)
		return err
	})
	g.Go(func() (err error) {
		w.base, err = w.debian(ctx)
		return err
	})
	g.Go(func() error {
		dir, err := w.Programs.ModuleDir(ctx, "sigs.k8s.io/kind")
		w.files = filepath.Join(dir, "images", "base", "files")
		return err
	})
	return g.Wait()
}

// key names what the image is made from. Debian's packages are the state of
// their archive on the day the base was made.
func (b *Builder) key() (string, error) {
	progs, err := b.Programs.Key()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = fmt.Fprintln(h, progs, debianKey())
	err = fs.WalkDir(b.Recipe, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := b.Recipe.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = src.Close() }()
		_, _ = fmt.Fprintln(h, path)
		_, err = io.Copy(h, src)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the recipe: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// sweep removes what builds that were killed left. The lock is held.
func (b *Builder) sweep() error {
	left, err := filepath.Glob(filepath.Join(b.Root, "half-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := discard(dir); err != nil {
			return fmt.Errorf("remove what an earlier build left: %w", err)
		}
	}
	return nil
}

func (b *Builder) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}
