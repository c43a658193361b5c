// Command images makes the images of hub, agent and Flink and the binary of the
// object storage, and says where they are, one line each. Other programs do the
// same on their own; running it first only moves the wait.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/image"
	"github.com/waterwheel-io/waterwheel/e2e/kind/storage"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

func main() {
	versions := flag.String("flink", strings.Join(flinkdist.Versions(), ","), "Flink versions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, log, strings.Split(*versions, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run compiles the object storage, which takes longest, beside everything else.
func run(ctx context.Context, log *slog.Logger, versions []string) error {
	var wg sync.WaitGroup
	var storageErr error
	wg.Go(func() { storageErr = gateway(ctx, log) })
	err := images(ctx, log, versions)
	wg.Wait()
	return errors.Join(err, storageErr)
}

func gateway(ctx context.Context, log *slog.Logger) error {
	began := time.Now()
	path, err := storage.Gateway(ctx, log)
	if err != nil {
		return err
	}
	fmt.Printf("storage seconds=%.1f path=%s\n", time.Since(began).Seconds(), path)
	return nil
}

func images(ctx context.Context, log *slog.Logger, versions []string) error {
	for _, v := range versions {
		if err := say("flink-"+v, func() (image.Archive, error) { return image.Flink(ctx, log, v) }); err != nil {
			return err
		}
	}
	if err := say("hub", func() (image.Archive, error) { return image.Hub(ctx, log) }); err != nil {
		return err
	}
	return say("agent", func() (image.Archive, error) { return image.Agent(ctx, log) })
}

func say(name string, get func() (image.Archive, error)) error {
	began := time.Now()
	a, err := get()
	if err != nil {
		return err
	}
	fmt.Printf("image %s ref=%s mb=%d seconds=%.1f cached=%t path=%s\n", name, a.Ref, a.Bytes/1e6, time.Since(began).Seconds(), a.Cached, a.Path)
	return nil
}
