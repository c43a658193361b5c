// Command waterwheel is what people call: it declares jobs at a hub and shows what became of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/internal/cli"
	"github.com/waterwheel-io/waterwheel/internal/dev"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once, whatever it is doing
	code := cli.Main(ctx, version, os.Args[1:], dev.Command(exampleJob()))
	stop()
	os.Exit(code)
}

// exampleJob is what the manifests in docs/examples run.
func exampleJob() dev.Example {
	return dev.Example{Jar: "ledger.jar", Build: func(ctx context.Context, lib, javac string) (string, error) {
		return ledger.Build(ctx, ledger.Options{FlinkLib: lib, Javac: javac})
	}}
}
