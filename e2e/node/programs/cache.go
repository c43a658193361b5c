package programs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cache holds programs below one directory, each set of inputs in its own.
type Cache struct {
	// Root is where the sets stand, as <Root>/<key>.
	Root string
	// Graph is the module that the programs are built in: go.mod, go.sum and
	// the main packages of its own.
	Graph fs.FS
	// Progress is told what goes on, a line at a time; nil for silence.
	Progress func(line string)
}

// Key names the inputs: the same key, the same programs. Linkers, versions and
// the toolchain are inputs as much as the graph is.
func (c *Cache) Key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, linkFlags(), Containerd, containerdTags)
	err := fs.WalkDir(c.Graph, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(c.Graph, path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, len(b))
		h.Write(b)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the module graph: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// sets matches the directories of all sets, and nothing else that others keep
// beside them.
const sets = "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]*"

// Dir returns the directory of this set, with what stands beside the programs.
func (c *Cache) Dir() (string, error) {
	key, err := c.Key()
	if err != nil {
		return "", err
	}
	return filepath.Join(c.Root, key), nil
}

// Ensure builds those of names that are missing and returns the directory that
// holds them all.
func (c *Cache) Ensure(ctx context.Context, names ...string) (string, error) {
	known := catalog()
	for _, name := range names {
		if _, ok := known[name]; !ok {
			return "", fmt.Errorf("no program %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	dir, err := c.Dir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bin")
	if Use(dir) && len(missing(bin, names)) == 0 {
		return bin, nil
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	unlock, err := Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := c.build(ctx, dir, missing(bin, names)); err != nil {
		return "", err
	}
	return bin, Prune(c.Root, sets, dir)
}

func missing(bin string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := os.Stat(filepath.Join(bin, name))
		return err == nil
	})
}

// build puts names into dir/bin. What an earlier build left half done is in a
// directory that nobody reads.
func (c *Cache) build(ctx context.Context, dir string, names []string) error {
	var ours, separate []string
	for _, name := range names {
		if catalog()[name].separate {
			separate = append(separate, name)
		} else {
			ours = append(ours, name)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "half-*")) // of builds that were killed: the lock is held
	if err != nil {
		return err
	}
	for _, half := range left {
		if err := os.RemoveAll(half); err != nil {
			return err
		}
	}
	half, err := os.MkdirTemp(dir, "half-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(half) }()
	if len(ours) > 0 {
		if err := c.compile(ctx, half, ours); err != nil {
			return err
		}
	}
	if len(separate) > 0 {
		if err := c.install(ctx, half, separate); err != nil {
			return err
		}
	}
	for _, name := range names {
		built := filepath.Join(half, "bin", cmp.Or(catalog()[name].built, name))
		if err := os.Rename(built, filepath.Join(dir, "bin", name)); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
	}
	return nil
}

// compile builds programs of the graph, in one go.
func (c *Cache) compile(ctx context.Context, half string, names []string) error {
	began := time.Now()
	c.say("building %s (first time: some minutes)", strings.Join(names, " "))
	src := filepath.Join(half, "src")
	if err := os.CopyFS(src, c.Graph); err != nil {
		return fmt.Errorf("lay out the module graph: %w", err)
	}
	args := []string{"build", "-mod=readonly", "-buildvcs=false", "-ldflags", linkFlags(), "-o", filepath.Join(half, "bin") + "/"}
	for _, name := range names {
		args = append(args, catalog()[name].pkg)
	}
	if err := goTool(ctx, src, nil, args...); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(names, " "), err)
	}
	c.say("built %s in %.0f s", strings.Join(names, " "), time.Since(began).Seconds())
	return nil
}

// install builds programs of other graphs, as their own modules fix them.
func (c *Cache) install(ctx context.Context, half string, names []string) error {
	began := time.Now()
	c.say("building %s %s", strings.Join(names, " "), Containerd)
	args := []string{"install", "-tags", containerdTags, "-ldflags", "-s -w"}
	for _, name := range names {
		args = append(args, catalog()[name].pkg+"@"+Containerd)
	}
	if err := goTool(ctx, half, []string{"GOBIN=" + filepath.Join(half, "bin")}, args...); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(names, " "), err)
	}
	c.say("built %s in %.0f s", strings.Join(names, " "), time.Since(began).Seconds())
	return nil
}

// ModuleDir returns where a module of the graph lies on this machine, fetched
// when it did not.
func (c *Cache) ModuleDir(ctx context.Context, module string) (string, error) {
	src, err := os.MkdirTemp("", "ww-graph-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(src) }()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := fs.ReadFile(c.Graph, name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(src, name), b, 0o644); err != nil {
			return "", err
		}
	}
	var out []byte
	err = again(ctx, func() (err error) {
		cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
		cmd.Dir, cmd.Env = src, goEnv(nil)
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("fetch %s: %w: %s", module, err, tail(string(out)))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", fmt.Errorf("fetch %s: %w", module, err)
	}
	if got.Dir == "" {
		return "", fmt.Errorf("fetch %s: not in the module cache", module)
	}
	return got.Dir, nil
}

func (c *Cache) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// goTool runs the go command. What the network kept from it is tried again: it
// gives up at the first request that fails, and what it has got stays.
func goTool(ctx context.Context, dir string, env []string, args ...string) error {
	return again(ctx, func() error {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = dir, goEnv(env)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("go %s: %w: %s", args[0], err, tail(string(out)))
		}
		return nil
	})
}

func again(ctx context.Context, do func() error) error {
	for _, pause := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute} {
		err := do()
		if err == nil || ctx.Err() != nil || !network(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
	return do()
}

// network reports whether it was a download that failed, by the go command's words.
func network(err error) bool {
	said := err.Error()
	return slices.ContainsFunc([]string{"https://", "http://", " tcp ", "unexpected EOF", "stream error"}, func(word string) bool {
		return strings.Contains(said, word)
	})
}

// goEnv makes a build the same wherever it is asked for: what the caller set for
// its own module does not reach this one.
func goEnv(more []string) []string {
	return append(append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"), more...)
}

// tail keeps of a tool's output what tells why it failed.
func tail(s string) string {
	const most = 2000
	s = strings.TrimSpace(s)
	if len(s) > most {
		s = "… " + s[len(s)-most:]
	}
	return s
}

// Lock takes the lock file, waiting for who has it.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another build: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Export copies programs out of the cache.
func Export(bin, out string, names []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(bin, name), filepath.Join(out, name)); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	half, err := os.CreateTemp(filepath.Dir(to), ".half-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(half.Name()) }()
	_, err = io.Copy(half, in)
	if err := errors.Join(err, half.Chmod(0o755), half.Close()); err != nil {
		return err
	}
	return os.Rename(half.Name(), to)
}
