package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/hub"
)

func command() *cobra.Command {
	var file string
	root := &cobra.Command{
		Use: "waterwheel-hub", Short: "Runs the hub", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:              func(c *cobra.Command, _ []string) error { return serve(c.Context(), file) },
	}
	root.Flags().StringVar(&file, "config", "", "the hub's file")
	root.AddCommand(initCommand(), adminCommand(), contextCommand(), reachCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version) },
	})

	return root
}

func adminCommand() *cobra.Command {
	var dir string
	var offline bool
	c := &cobra.Command{
		Use: "admin NAME", Short: "Make a further admin", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !offline {
				return errors.New("a running hub makes admins by: waterwheel admin create NAME; this is for one that is stopped or has no admin left: say --offline, on the machine of its directory")
			}
			cfg, err := hub.LoadConfig(filepath.Join(dir, hub.ConfigFile))
			if err != nil {
				return err
			}
			files, err := hub.IssueAdmin(cfg, args[0])
			if err == nil {
				tellAdmin(c.OutOrStdout(), args[0], files, cfg.AdminAddr())
			}

			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "directory of the hub")
	c.Flags().BoolVar(&offline, "offline", false, "use the root key in the directory, without asking a hub")
	c.MarkFlagRequired("dir") //nolint:errcheck // the flag stands two lines above

	return c
}

func contextCommand() *cobra.Command {
	var file, dir, admin, name, server string
	c := &cobra.Command{
		Use: "context", Short: "Print a context of an admin, its private key among it, for: waterwheel config import -", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				file = filepath.Join(dir, hub.ConfigFile)
			}
			cfg, err := hub.LoadConfig(file)
			if err != nil {
				return err
			}
			if dir != "" {
				cfg.Dir = dir
			}
			text, err := hub.AdminContext(cfg, admin, name, server)
			if err == nil {
				_, err = c.OutOrStdout().Write(text)
			}

			return err
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "directory of the hub")
	f.StringVar(&file, "config", "", "the hub's file (default hub.yaml in the directory)")
	f.StringVar(&admin, "admin", "admin", "whose context")
	f.StringVar(&server, "server", "", "host:port to dial (default what admins are told to dial)")
	f.StringVar(&name, "name", "", "name of the context (default the trust domain)")
	c.MarkFlagsOneRequired("dir", "config")

	return c
}
