package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
	"github.com/waterwheel-io/waterwheel/e2e/kind/image"
	"github.com/waterwheel-io/waterwheel/e2e/kind/internal/source"
	"github.com/waterwheel-io/waterwheel/e2e/kind/storage"
)

// Options say what to set up.
type Options struct {
	Name      string    // of the world: its storage is kept apart by it
	Versions  []string  // of Flink, such as 2.3; nil: no Flink image
	Product   bool      // the images of hub and agent too
	Anew      bool      // remove first what an earlier world of the name left
	Artifacts string    // directory for logs; made if missing
	Progress  io.Writer // told what goes on
}

// Base is what clusters stand on.
type Base struct {
	Engine  *engine.Engine
	Storage *storage.Server
	Flink   map[string]image.Archive // by version as asked for
	Hub     image.Archive
	Agent   image.Archive

	node string // image of nodes
	root string // of the repository
	helm string // the pinned one
	o    Options
	say  *teller
}

// bucket is where all jobs of a world keep their state and their output.
const bucket = "waterwheel"

// Root is the place in storage below which a world's jobs keep everything.
func (b *Base) Root() string { return "s3://" + bucket + "/" + b.o.Name }

// Open makes the base. Images, storage server and node image are made side by side.
func Open(ctx context.Context, o Options) (*Base, error) {
	if err := os.MkdirAll(o.Artifacts, 0o755); err != nil {
		return nil, fmt.Errorf("make room for artifacts: %w", err)
	}
	node, err := source.Node(ctx)
	if err != nil {
		return nil, err
	}
	b := &Base{o: o, root: filepath.Dir(filepath.Dir(node)), Flink: map[string]image.Archive{}, say: &teller{to: o.Progress, began: time.Now()}}
	if missing := Missing(o.Versions); len(missing) > 0 {
		b.Say("not on this machine yet, so made first, in some 10 to 15 minutes: " + strings.Join(missing, ", "))
	}
	log := slog.New(slog.NewTextHandler(lines(b.Say), &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: bare}))
	group, each := errgroup.WithContext(ctx)
	var mu sync.Mutex // guards b.Flink
	group.Go(func() (err error) {
		if b.Engine, err = engine.Open(each, engine.Options{Progress: b.Say}); err != nil {
			return err
		}
		if o.Anew {
			if err := b.removeLeft(each); err != nil {
				return err
			}
		}
		b.node, err = cluster.NodeImage(each, b.Engine, b.Say)
		return err
	})
	group.Go(func() error {
		_, err := storage.Gateway(each, log)
		return err
	})
	group.Go(func() (err error) { // one after another: each uses both cores
		for _, v := range o.Versions {
			a, err := image.Flink(each, log, v)
			if err != nil {
				return err
			}
			mu.Lock()
			b.Flink[v] = a
			mu.Unlock()
		}
		if !o.Product {
			return nil
		}
		if b.Hub, err = image.Hub(each, log); err != nil {
			return err
		}
		if b.Agent, err = image.Agent(each, log); err != nil {
			return err
		}
		b.helm, err = b.buildHelm(each)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return b, b.store(ctx, log)
}

// store starts the object storage where pods of all clusters reach it.
func (b *Base) store(ctx context.Context, log *slog.Logger) error {
	host, err := cluster.HostAddress(ctx, b.Engine)
	if err != nil {
		return err
	}
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	b.Storage, err = storage.Start(ctx, storage.Options{
		Dir: filepath.Join(root, "storage-"+b.o.Name), Host: host.String(), Buckets: []string{bucket}, Log: log,
	})
	return err
}

// Cluster makes a cluster, or opens the one of that name, and loads images into it.
func (b *Base) Cluster(ctx context.Context, o cluster.Options, images ...image.Archive) (*cluster.Cluster, error) {
	o.Image, o.Progress, o.Artifacts = b.node, b.Say, b.o.Artifacts
	c, err := cluster.Open(ctx, b.Engine, o.Name)
	if err != nil {
		if c, err = cluster.Create(ctx, b.Engine, o); err != nil {
			return nil, err
		}
	}
	for _, a := range images {
		began := time.Now()
		sent, err := c.LoadImage(ctx, a.Path)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		if sent {
			b.Say(fmt.Sprintf("cluster %s has %s after %.1f s", c.Name, a.Ref, time.Since(began).Seconds()))
		}
	}
	return c, nil
}

// Close stops the storage and removes the clusters.
func (b *Base) Close(ctx context.Context, clusters ...*cluster.Cluster) error {
	var errs []error
	for _, c := range clusters {
		if c != nil {
			errs = append(errs, c.Delete())
		}
	}
	return errors.Join(append(errs, b.Storage.Stop(ctx))...)
}

// Say tells one line of what goes on.
func (b *Base) Say(line string) { b.say.line(line) }

// teller writes lines with the seconds since it began. It may be used from many goroutines.
type teller struct {
	mu    sync.Mutex
	to    io.Writer
	began time.Time
}

func (p *teller) line(text string) {
	if p.to == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.to, "%6.1f s  %s\n", time.Since(p.began).Seconds(), text)
}

// lines is a writer of whole lines of log, which it makes lines for people.
type lines func(string)

// Write implements io.Writer.
func (f lines) Write(b []byte) (int, error) {
	f(plain(strings.TrimSuffix(string(b), "\n")))
	return len(b), nil
}

// plain is a line of log with its message as it was written: no key, no quotes.
func plain(line string) string {
	rest, ok := strings.CutPrefix(line, slog.MessageKey+"=")
	if !ok {
		return line
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return rest
	}
	message, err := strconv.Unquote(quoted)
	if err != nil {
		return rest
	}
	return message + rest[len(quoted):]
}

// bare leaves out of a log line what the progress says already.
func bare(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}
