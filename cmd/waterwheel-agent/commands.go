package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/agent"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

func command() *cobra.Command {
	var file string
	root := &cobra.Command{
		Use: "waterwheel-agent", Short: "Makes the hub's orders true in one cluster", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), file) },
	}
	root.PersistentFlags().StringVar(&file, "config", "agent.yaml", "the agent's file")
	root.AddCommand(
		rbacCommand(&file), doctorCommand(&file),
		&cobra.Command{
			Use: "down", Short: "End every run of this agent, and in Kubernetes the agent itself; state stays", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return down(c.Context(), file, c.OutOrStdout()) },
		},
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version) },
		},
	)
	return root
}

func run(ctx context.Context, file string) error {
	cfg, err := agent.LoadConfig(file)
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(os.Stderr, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return err
	}
	return agent.Serve(ctx, cfg, agent.Deps{Version: version, Logger: log})
}

func down(ctx context.Context, file string, out io.Writer) error {
	cfg, err := agent.LoadConfig(file)
	if err != nil {
		return err
	}
	return agent.EndRuns(ctx, cfg, out)
}
