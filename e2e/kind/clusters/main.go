package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clusters:", err)
		stop()
		os.Exit(1)
	}
}

func say(line string) { fmt.Fprintln(os.Stderr, line) }

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("what? up, down, list, load, kubectl, dump or check")
	}
	e, err := engine.Open(ctx, engine.Options{Progress: say})
	if err != nil {
		return err
	}
	verb, rest := args[0], args[1:]
	switch {
	case verb == "list":
		return list(ctx, e)
	case verb == "up" && len(rest) > 0:
		return up(ctx, e, rest)
	case verb == "down" && len(rest) > 0:
		return down(e, rest)
	case verb == "load" && len(rest) > 1:
		return load(ctx, e, rest[0], rest[1:])
	case verb == "kubectl" && len(rest) > 1:
		return kubectl(ctx, e, rest[0], rest[1:])
	case verb == "check" && len(rest) == 2:
		return check(ctx, e, rest[0], rest[1])
	case verb == "dump" && len(rest) == 2:
		c, err := cluster.Open(ctx, e, rest[0])
		if err != nil {
			return err
		}
		return c.DumpArtifacts(ctx, rest[1])
	}
	return fmt.Errorf("cannot do %v", args)
}

func up(ctx context.Context, e *engine.Engine, names []string) error {
	image, err := cluster.NodeImage(ctx, e, say)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error {
			began := time.Now()
			c, err := cluster.Create(ctx, e, cluster.Options{Name: name, Image: image, AuditPolicy: cluster.AuditMetadata, Progress: say})
			if err != nil {
				return err
			}
			fmt.Printf("cluster name=%s node=%s kubeconfig=%s docker_host=%s seconds=%.1f\n",
				c.Name, c.NodeIP, c.Kubeconfig, e.Host, time.Since(began).Seconds())
			return nil
		})
	}
	return g.Wait()
}

func down(e *engine.Engine, names []string) error {
	var errs []error
	for _, name := range names {
		c, err := cluster.Handle(e, cluster.FullName(name))
		if err == nil {
			err = c.Delete()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func list(ctx context.Context, e *engine.Engine) error {
	names, err := cluster.List(e)
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := cluster.Open(ctx, e, name)
		if err != nil {
			fmt.Printf("cluster name=%s broken=%q\n", name, err)
			continue
		}
		fmt.Printf("cluster name=%s node=%s kubeconfig=%s docker_host=%s\n", c.Name, c.NodeIP, c.Kubeconfig, e.Host)
	}
	return nil
}

func load(ctx context.Context, e *engine.Engine, name string, archives []string) error {
	c, err := cluster.Open(ctx, e, name)
	if err != nil {
		return err
	}
	for _, archive := range archives {
		began := time.Now()
		sent, err := c.LoadImage(ctx, archive)
		if err != nil {
			return err
		}
		fmt.Printf("image archive=%s cluster=%s sent=%t seconds=%.1f\n", archive, c.Name, sent, time.Since(began).Seconds())
	}
	return nil
}

func kubectl(ctx context.Context, e *engine.Engine, name string, args []string) error {
	c, err := cluster.Open(ctx, e, name)
	if err != nil {
		return err
	}
	out, err := c.KubectlWith(ctx, os.Stdin, args...)
	fmt.Print(out)
	return err
}
