package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/waterwheel-io/waterwheel/flink"
)

// configVariable names the file of contexts, in the place of ~/.config/waterwheel/config.yaml.
const configVariable = "WATERWHEEL_CONFIG"

// Config is the file of contexts.
type Config struct {
	CurrentContext string    `yaml:"currentContext,omitempty"`
	Contexts       []Context `yaml:"contexts"`

	path string
}

// Context says which hub to call, and as whom. Relative paths are relative to the file.
type Context struct {
	Name     string `yaml:"name"`
	Hub      string `yaml:"hub"` // host:port of the admin API
	Tenant   string `yaml:"tenant,omitempty"`
	CAFile   string `yaml:"caFile,omitempty"`   // the hub's roots, PEM
	CAData   string `yaml:"caData,omitempty"`   // the same, written out here
	CertFile string `yaml:"certFile,omitempty"` // the own certificate, PEM
	CertData string `yaml:"certData,omitempty"`
	KeyFile  string `yaml:"keyFile,omitempty"` // its key, PEM
	KeyData  string `yaml:"keyData,omitempty"`
}

// complete tells that nothing is missing that is needed to call the hub.
func (c Context) complete() bool {
	return c.Hub != "" && (c.CertFile != "" || c.CertData != "") && (c.KeyFile != "" || c.KeyData != "") && (c.CAFile != "" || c.CAData != "")
}

// ConfigPath is where the contexts are kept.
func ConfigPath() (string, error) {
	if path := os.Getenv(configVariable); path != "" {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for contexts: %w: set %s", err, configVariable)
	}
	return filepath.Join(home, ".config", "waterwheel", "config.yaml"), nil
}

// LoadConfig reads a file of contexts; a missing one has none.
func LoadConfig(path string) (*Config, error) {
	c := &Config{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading contexts: %w", err)
	}
	return c, c.read(data)
}

// read takes the contents of the file.
func (c *Config) read(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("reading contexts: %s: %s", c.path, yaml.FormatError(err, false, false))
	}
	return nil
}

// Save writes the file anew, for its owner alone, at once or not at all.
func (c *Config) Save() error {
	data, err := yaml.MarshalWithOptions(c, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return fmt.Errorf("writing contexts: %w", err)
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing contexts: %w", err)
	}
	f, err := os.CreateTemp(dir, ".config-*")
	if err != nil {
		return fmt.Errorf("writing contexts: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("writing contexts: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// Set adds a context, or replaces the one of its name. The first one becomes current.
func (c *Config) Set(ctx Context) {
	if i := c.index(ctx.Name); i >= 0 {
		c.Contexts[i] = ctx
	} else {
		c.Contexts = append(c.Contexts, ctx)
	}
	if c.CurrentContext == "" {
		c.CurrentContext = ctx.Name
	}
}

// Delete drops a context and reports whether there was one.
func (c *Config) Delete(name string) bool {
	i := c.index(name)
	if i < 0 {
		return false
	}
	c.Contexts = slices.Delete(c.Contexts, i, i+1)
	if c.CurrentContext == name {
		c.CurrentContext = ""
	}
	return true
}

// Find is the context of a name, or the current one for the empty name.
func (c *Config) Find(name string) (Context, error) {
	if name == "" {
		name = c.CurrentContext
	}
	if i := c.index(name); i >= 0 {
		return c.Contexts[i], nil
	}
	switch {
	case len(c.Contexts) == 0:
		return Context{}, usagef("no contexts in %s: start a world with waterwheel dev up, or name a hub with waterwheel config set-context, or import a context", c.path)
	case name == "":
		return Context{}, usagef("no current context in %s: choose one with waterwheel config use-context (%s)", c.path, strings.Join(c.names(), ", "))
	}
	return Context{}, exitf(ExitNotFound, "no context %q in %s%s", name, c.path, meant(name, c.names()))
}

func (c *Config) index(name string) int {
	return slices.IndexFunc(c.Contexts, func(x Context) bool { return x.Name == name })
}

func (c *Config) names() []string {
	names := make([]string, len(c.Contexts))
	for i, x := range c.Contexts {
		names[i] = x.Name
	}
	return names
}

// file is a path of a context as the process can open it.
func (c *Config) file(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.path), path)
}

// text is what a context has written out, or else has in a file.
func (c *Config) text(path, data string) ([]byte, error) {
	if data != "" {
		return []byte(data), nil
	}
	return os.ReadFile(c.file(path))
}

func meant(word string, candidates []string) string {
	if near := flink.Near(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
