package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
	"github.com/waterwheel-io/waterwheel/e2e/kind/storage"
)

func main() {
	all := flag.Bool("all", false, "also what is kept by content: node images, programs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := run(ctx, *all); err != nil {
		fmt.Fprintln(os.Stderr, "clean:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, all bool) error {
	cuts, err := cluster.HealAll(ctx)
	errs := []error{err}
	deleted := 0
	for _, e := range engine.Running(ctx, engine.Options{}) {
		n, err := sweep(ctx, e)
		deleted += n
		errs = append(errs, err)
	}
	stores, err := endStorage(ctx)
	errs = append(errs, err)
	stopped, err := engine.Stop(ctx, engine.Options{})
	errs = append(errs, err, forget(all))
	fmt.Printf("clean clusters=%d storages=%d cuts=%d engine_stopped=%t caches_removed=%t\n", deleted, stores, cuts, stopped, all)
	return errors.Join(errs...)
}

// endStorage ends object storages that outlived who started them, and removes
// what they held.
func endStorage(ctx context.Context) (ended int, err error) {
	root, err := cluster.Root()
	if err != nil {
		return 0, err
	}
	dirs, err := filepath.Glob(filepath.Join(root, "storage-*"))
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, dir := range dirs {
		server, err := storage.Attach(dir, nil)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
			continue
		default:
			if err := server.Stop(ctx); err != nil {
				errs = append(errs, err)
				continue
			}
			ended++
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return ended, errors.Join(errs...)
}

// sweep deletes the clusters in an engine, and containers named as they are.
func sweep(ctx context.Context, e *engine.Engine) (deleted int, err error) {
	names, err := cluster.List(e)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, name := range names {
		c, err := cluster.Handle(e, name)
		if err == nil {
			err = c.Delete()
		}
		if err == nil {
			deleted++
		}
		errs = append(errs, err)
	}
	ids, err := e.Docker(ctx, "ps", "-aq", "--filter", "name=^/?"+cluster.Prefix)
	errs = append(errs, err)
	if list := strings.Fields(ids); err == nil && len(list) > 0 {
		_, err := e.Docker(ctx, append([]string{"rm", "-f", "-v"}, list...)...)
		errs = append(errs, err)
	}
	return deleted, errors.Join(errs...)
}

// forget removes files: what belonged to clusters, and with all what is kept by
// content for tests in clusters. Flink and jobs are kept for more than these.
func forget(all bool) error {
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	if !all {
		return os.RemoveAll(filepath.Join(root, "clusters"))
	}
	errs := []error{os.RemoveAll(root)}
	for _, name := range []string{"node", "images", "storage", "helm"} {
		dir, err := cache.Dir(name)
		if err == nil {
			err = os.RemoveAll(dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
