package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
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
	stopped, err := engine.Stop(ctx, engine.Options{})
	errs = append(errs, err, forget(all))
	fmt.Printf("clean clusters=%d cuts=%d engine_stopped=%t caches_removed=%t\n", deleted, cuts, stopped, all)
	return errors.Join(errs...)
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

// forget removes files: what belonged to clusters, and with all the caches.
func forget(all bool) error {
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	if !all {
		return os.RemoveAll(filepath.Join(root, "clusters"))
	}
	return errors.Join(os.RemoveAll(root), os.RemoveAll(filepath.Join(filepath.Dir(root), "node")))
}
