// Command waterwheel is what people call: it declares jobs at a hub and shows what became of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/waterwheel-io/waterwheel/internal/cli"
	"github.com/waterwheel-io/waterwheel/internal/dev"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], dev.Command())
	stop()
	os.Exit(code)
}
