// Command waterwheel-hub is the hub: people declare jobs at it, agents take their orders from it.
//
//	waterwheel-hub init --dir DIR               make a new hub and its first admin
//	waterwheel-hub --config FILE                run until SIGTERM
//	waterwheel-hub admin NAME --offline --dir DIR   make a further admin
//	waterwheel-hub context --dir DIR            print a context of an admin, for waterwheel config import
//	waterwheel-hub reach HOST:PORT              tell whether the hub answers there
//	waterwheel-hub version
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/waterwheel-io/waterwheel/hub"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func serve(ctx context.Context, file string) error {
	if file == "" {
		return fmt.Errorf("name the configuration: waterwheel-hub --config DIR/hub.yaml (waterwheel-hub init --dir DIR makes it)")
	}
	cfg, err := hub.LoadConfig(file)
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(os.Stderr, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return err
	}
	h, err := hub.New(ctx, cfg, hub.Deps{Logger: log, Registry: telemetry.NewRegistry(version)})
	if err != nil {
		return err
	}

	return h.Run(ctx)
}
