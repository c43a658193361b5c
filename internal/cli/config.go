package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func loadConfig() (*Config, error) {
	path, err := ConfigPath()
	if err != nil {
		return nil, err
	}
	return LoadConfig(path)
}

func configCmd(a *app) *cobra.Command {
	return group("config", "Choose which hub to call, and as whom",
		a.getContextsCmd(), useContextCmd(), currentContextCmd(), setContextCmd(), deleteContextCmd(), importCmd())
}

func (a *app) getContextsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "get-contexts", Short: "List the contexts", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			t := newTable("CURRENT", "NAME", "HUB", "TENANT")
			for _, c := range cfg.Contexts {
				current := ""
				if c.Name == cfg.CurrentContext {
					current = "*"
				}
				t.add(plain(current), plain(c.Name), plain(c.Hub), plain(orDefault(c.Tenant)))
			}
			return t.write(cmd.OutOrStdout(), a.colour(cmd.OutOrStdout()))
		},
	}
}

func currentContextCmd() *cobra.Command {
	return &cobra.Command{
		Use: "current-context", Short: "Print the name of the current context", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			c, err := cfg.Find("")
			if err != nil {
				return err
			}
			say(cmd, "%s", c.Name)
			return nil
		},
	}
}

func useContextCmd() *cobra.Command {
	return &cobra.Command{
		Use: "use-context NAME", Short: "Make a context the current one", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			c, err := cfg.Find(args[0])
			if err != nil {
				return err
			}
			cfg.CurrentContext = c.Name
			if err := cfg.Save(); err != nil {
				return err
			}
			say(cmd, "context %q is now current", c.Name)
			return nil
		},
	}
}

func deleteContextCmd() *cobra.Command {
	return &cobra.Command{
		Use: "delete-context NAME", Short: "Forget a context; its files stay", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			if !cfg.Delete(args[0]) {
				return exitf(ExitNotFound, "no context %q in %s%s", args[0], cfg.path, meant(args[0], cfg.names()))
			}
			if err := cfg.Save(); err != nil {
				return err
			}
			say(cmd, "context %q deleted", args[0])
			return nil
		},
	}
}

func setContextCmd() *cobra.Command {
	var set Context
	var dir string
	var use bool
	cmd := &cobra.Command{
		Use: "set-context NAME", Short: "Add a context or change one; what no flag names stays", Args: args(1, 1),
		Example: "  waterwheel config set-context prod --hub hub.example.org:7444 --identity ./admin/me --use",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			if dir != "" {
				set.CAFile, set.CertFile, set.KeyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			}
			c := Context{Name: args[0]}
			if i := cfg.index(args[0]); i >= 0 {
				c = cfg.Contexts[i]
			}
			if err := c.change(set); err != nil {
				return err
			}
			if !c.complete() {
				return usagef("context %q needs --hub, and --identity or --ca, --cert and --key", c.Name)
			}
			cfg.Set(c)
			if use {
				cfg.CurrentContext = c.Name
			}
			if err := cfg.Save(); err != nil {
				return err
			}
			say(cmd, "context %q set", c.Name)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&set.Hub, "hub", "", "host:port of the hub's admin API")
	f.StringVar(&dir, "identity", "", "directory with ca.pem, cert.pem and key.pem, as waterwheel-hub wrote it")
	f.StringVar(&set.CAFile, "ca", "", "file of the hub's roots")
	f.StringVar(&set.CAData, "ca-data", "", "the hub's roots themselves, in PEM form")
	f.StringVar(&set.CertFile, "cert", "", "file of the own certificate")
	f.StringVar(&set.KeyFile, "key", "", "file of its key")
	f.StringVar(&set.Tenant, "with-tenant", "", "tenant of the context")
	f.BoolVar(&use, "use", false, "make it the current context")
	return cmd
}

// change takes over what is set; files become absolute and must exist.
func (c *Context) change(set Context) error {
	for _, f := range []struct{ to, from *string }{{&c.CAFile, &set.CAFile}, {&c.CertFile, &set.CertFile}, {&c.KeyFile, &set.KeyFile}} {
		if *f.from == "" {
			continue
		}
		path, err := filepath.Abs(*f.from)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return fmt.Errorf("context %q: %w", c.Name, err)
		}
		*f.to = path
	}
	if set.CAFile != "" {
		c.CAData = ""
	}
	if set.CertFile != "" {
		c.CertData = ""
	}
	if set.KeyFile != "" {
		c.KeyData = ""
	}
	if set.CAData != "" {
		c.CAFile, c.CAData = "", set.CAData
	}
	if set.Hub != "" {
		c.Hub = set.Hub
	}
	if set.Tenant != "" {
		c.Tenant = set.Tenant
	}
	return nil
}
