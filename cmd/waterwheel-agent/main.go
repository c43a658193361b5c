// Command waterwheel-agent makes the hub's orders true in one cluster.
//
//	waterwheel-agent --config FILE         run until SIGTERM; the jobs go on
//	waterwheel-agent down --config FILE    end every run of this agent, in Kubernetes the agent too; state stays
//	waterwheel-agent rbac                  say what an agent in Kubernetes may do, and why
//	waterwheel-agent doctor --config FILE  look at all that it needs of its place
//	waterwheel-agent version
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
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
