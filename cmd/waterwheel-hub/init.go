package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/hub"
)

func initCommand() *cobra.Command {
	cfg := hub.DefaultConfig()
	var admin string
	var ifEmpty bool
	c := &cobra.Command{
		Use: "init", Short: "Make a new hub and its first admin", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
				return err
			}
			if ifEmpty {
				if there, err := hub.Exists(cfg); err != nil || there {
					return tellExists(c.OutOrStdout(), cfg, err)
				}
			}
			file, files, err := hub.Init(c.Context(), cfg, admin, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "hub made; run it with:\n  waterwheel-hub --config %s\n", file)
			tellAdmin(c.OutOrStdout(), admin, files, cfg.AdminAddr())

			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Dir, "dir", "", "directory to make")
	f.StringVar(&cfg.TrustDomain, "trust-domain", "waterwheel", "SPIFFE trust domain of the fleet")
	f.StringVar(&cfg.Agents.Listen, "agents", cfg.Agents.Listen, "where to listen for agents")
	f.StringVar(&cfg.Agents.Advertise, "agents-advertise", "", "host:port that agents are told to dial")
	f.StringVar(&cfg.Admin.Listen, "admin", cfg.Admin.Listen, "where to listen for admins")
	f.StringVar(&cfg.Admin.Advertise, "admin-advertise", "", "host:port that admins are told to dial")
	f.StringVar(&cfg.Metrics.Listen, "metrics", cfg.Metrics.Listen, "where to serve metrics and health, on loopback")
	f.BoolVar(&cfg.Metrics.Public, "metrics-public", false, "let --metrics be an address that other hosts can connect to")
	f.StringVar(&cfg.Health.Listen, "health", "", "where to serve health alone, for probes from other hosts")
	f.StringSliceVar(&cfg.Names, "name", cfg.Names, "DNS names and addresses of the hub's certificate")
	f.DurationVar(&cfg.CertificateLife, "certificate-life", cfg.CertificateLife, "how long an agent's certificate is valid")
	f.StringVar(&admin, "admin-name", "admin", "name of the first admin")
	f.BoolVar(&ifEmpty, "if-empty", false, "do nothing if the directory holds a hub of this trust domain already")
	c.MarkFlagRequired("dir") //nolint:errcheck // the flag stands above

	return c
}

// tellExists says that there is nothing to make.
func tellExists(w io.Writer, cfg hub.Config, err error) error {
	if err == nil {
		fmt.Fprintf(w, "%s holds a hub of trust domain %s: nothing to make, nothing changed\n", cfg.Dir, cfg.TrustDomain)
	}

	return err
}

// tellAdmin says how to use an admin's files.
func tellAdmin(w io.Writer, name, files, addr string) {
	fmt.Fprintf(w, "admin %s made; its files, its private key among them, belong on that admin's machine:\n  %s\n", name, files)
	fmt.Fprintf(w, "use them with:\n  export WATERWHEEL_CONFIG=%q\n  waterwheel get clusters\n", filepath.Join(files, "config.yaml"))
	fmt.Fprintf(w, "or with curl:\n  curl --cacert %[1]q/ca.pem --cert %[1]q/cert.pem --key %[1]q/key.pem --json '{}' \\\n"+
		"    https://%[2]s/waterwheel.admin.v1.ClusterService/ListClusters\n", files, addr)
}
