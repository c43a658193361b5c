package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/node/image"
	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

//go:embed go.mod go.sum coredns/*.go pause/*.go
var graph embed.FS

//go:embed image/*.go
var recipe embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the cache directory (set HOME or XDG_CACHE_HOME): %w", err)
	}
	root := filepath.Join(cache, "waterwheel", "node")
	say := func(line string) { fmt.Fprintln(os.Stderr, "node:", line) }
	progs := &programs.Cache{Root: root, Graph: graph, Progress: say}
	if len(args) == 0 {
		return errors.New("what? bin or image")
	}
	switch args[0] {
	case "bin":
		return bin(ctx, progs, args[1:])
	case "image":
		b := &image.Builder{Programs: progs, Recipe: recipe, Root: filepath.Join(root, "image"), Progress: say}
		return nodeImage(ctx, b, args[1:])
	default:
		return fmt.Errorf("no command %q: bin or image", args[0])
	}
}

func bin(ctx context.Context, progs *programs.Cache, args []string) error {
	flags := flag.NewFlagSet("bin", flag.ContinueOnError)
	out := flags.String("out", "-", "a directory to copy them to; -: leave them in the cache")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names := flags.Args()
	if len(names) == 0 {
		return fmt.Errorf("which programs? %s", strings.Join(programs.Names(), " "))
	}
	dir, err := progs.Ensure(ctx, names...)
	if err != nil {
		return err
	}
	if *out != "-" {
		if err := programs.Export(dir, *out, names); err != nil {
			return err
		}
		dir = *out
	}
	fmt.Println(dir)
	return nil
}

func nodeImage(ctx context.Context, b *image.Builder, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	load := flags.Bool("load", false, "load it into the Docker of DOCKER_HOST")
	if err := flags.Parse(args); err != nil {
		return err
	}
	began := time.Now()
	a, err := b.Build(ctx)
	if err != nil {
		return err
	}
	loaded := false
	if *load {
		if loaded, err = b.Load(ctx, a); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "node: image ref=%s cached=%t loaded=%t seconds=%.1f archive=%s\n",
		a.Ref, a.Cached, loaded, time.Since(began).Seconds(), a.Path)
	fmt.Println(a.Ref)
	return nil
}
