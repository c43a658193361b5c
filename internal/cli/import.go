package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// maxContexts bounds a file that is imported, in bytes.
const maxContexts = 1 << 20

func importCmd() *cobra.Command {
	var name string
	var use, replace bool
	cmd := &cobra.Command{
		Use: "import FILE|-", Short: "Take over the contexts of a file, such as waterwheel-hub context prints", Args: args(1, 1),
		Example: "  kubectl -n waterwheel exec waterwheel-hub-0 -c hub -- waterwheel-hub context --config /etc/waterwheel/hub.yaml | waterwheel config import - --use",
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := readContexts(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if name != "" {
				if len(from.Contexts) != 1 {
					return usagef("--name is for a file with one context, and %s has %d", from.path, len(from.Contexts))
				}
				from.Contexts[0].Name, from.CurrentContext = name, name
			}
			cfg, err := loadConfig()
			if err != nil {
				return err
			}
			if err := cfg.take(from, replace); err != nil {
				return err
			}
			if use && from.index(from.CurrentContext) >= 0 {
				cfg.CurrentContext = from.CurrentContext
			}
			if err := cfg.Save(); err != nil {
				return err
			}
			for _, c := range from.Contexts {
				current := ""
				if c.Name == cfg.CurrentContext {
					current = ", and is current"
				}
				say(cmd, "context %q imported: %s%s", c.Name, c.Hub, current)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "call the context so, instead of what the file says")
	f.BoolVar(&use, "use", false, "make the file's current context the current one")
	f.BoolVar(&replace, "replace", false, "write over contexts of the same names")
	return cmd
}

// readContexts reads a file of contexts, each of them complete; - is the input.
func readContexts(in io.Reader, path string) (*Config, error) {
	cfg := &Config{path: path}
	if path == "-" {
		cfg.path = "stdin"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading contexts: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxContexts+1))
	if err != nil {
		return nil, fmt.Errorf("reading contexts: %w", err)
	}
	if len(data) > maxContexts {
		return nil, usagef("%s is no file of contexts: it is too long", cfg.path)
	}
	if err := cfg.read(data); err != nil {
		return nil, err
	}
	if len(cfg.Contexts) == 0 {
		return nil, usagef("no contexts in %s", cfg.path)
	}
	for i, c := range cfg.Contexts {
		if c.Name == "" || !c.complete() {
			return nil, usagef("context %q of %s is not complete: it needs a name, a hub, and a certificate, a key and the hub's roots", c.Name, cfg.path)
		}
		if path == "-" && c.CAFile+c.CertFile+c.KeyFile != "" {
			return nil, usagef("context %q names files, whose place nobody knows when it is read from stdin: name the file instead", c.Name)
		}
		if err := cfg.Contexts[i].settle(cfg); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// settle makes the paths of a context independent of its file.
func (c *Context) settle(cfg *Config) error {
	for _, p := range []*string{&c.CAFile, &c.CertFile, &c.KeyFile} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(cfg.file(*p))
		if err != nil {
			return fmt.Errorf("context %q: %w", c.Name, err)
		}
		*p = abs
	}
	return nil
}

// take adds the contexts of another file, all or none.
func (c *Config) take(from *Config, replace bool) error {
	for _, x := range from.Contexts {
		if i := c.index(x.Name); i >= 0 && !replace && c.Contexts[i] != x {
			return exitf(ExitConflict, "there is a context %q already, for %s: say --replace, or another name with --name", x.Name, c.Contexts[i].Hub)
		}
	}
	for _, x := range from.Contexts {
		c.Set(x)
	}
	return nil
}
