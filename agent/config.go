package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// NoListener as Config.Listen means no listener at all.
const NoListener = "none"

// Config is the agent's file. Unknown keys are refused.
type Config struct {
	Hub    HubConfig `yaml:"hub"`
	Dir    string    `yaml:"dir"`    // of the agent: identity, records, runs
	Listen string    `yaml:"listen"` // loopback host:port of metrics, health and the agent's own view, or none
	// Health is where /healthz and /readyz alone are served, also to other hosts: for probes. Empty: nowhere.
	Health ListenerConfig `yaml:"health"`
	// Metrics is where /metrics is served beside Listen, for what collects them. Empty: nowhere.
	Metrics MetricsConfig `yaml:"metrics"`
	Runtime RuntimeConfig `yaml:"runtime"`
	// StateStorage.Root is where the state of jobs goes that name no root of their own; default: file://<dir>/state.
	StateStorage StorageConfig  `yaml:"stateStorage"`
	Capacity     CapacityConfig `yaml:"capacity"`
	Log          LogConfig      `yaml:"log"`
}

// HubConfig says where the hub is and how it is known.
type HubConfig struct {
	Address     string `yaml:"address"` // host:port of its agents' listener
	TrustDomain string `yaml:"trustDomain"`
	CAFile      string `yaml:"caFile"` // its roots in PEM; or
	CAPin       string `yaml:"caPin"`  // sha256:<hex> of its root
	TokenFile   string `yaml:"tokenFile"`
}

// ListenerConfig is a port.
type ListenerConfig struct {
	Listen string `yaml:"listen"`
}

// MetricsConfig is the port of the metrics: on loopback, unless Public says that whoever can connect may read them.
type MetricsConfig struct {
	Listen string `yaml:"listen"`
	Public bool   `yaml:"public"`
}

// RuntimeConfig is the place where runs live. Kind is "process", this host, or "kubernetes".
type RuntimeConfig struct {
	Kind   string            `yaml:"kind"`
	Flink  map[string]string `yaml:"flink"`  // home of a distribution by version, such as "2.3"
	Java   string            `yaml:"java"`   // the java binary; default: from PATH
	UsrLib string            `yaml:"usrlib"` // what local:///opt/flink/usrlib stands for; default: <dir>/usrlib

	Kubernetes KubernetesConfig `yaml:"kubernetes"`
}

// StorageConfig is where state goes.
type StorageConfig struct {
	Root string `yaml:"root"`
}

// CapacityConfig bounds what runs may declare together.
type CapacityConfig struct {
	Memory string `yaml:"memory"` // a quantity such as 8Gi; empty: no limit
}

// LogConfig is how the agent logs.
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// LoadConfig reads a file, fills in defaults and validates.
func LoadConfig(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	var c Config
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		// Its own form is a drawing of several lines; people get one.
		return Config{}, fmt.Errorf("%s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	c.setDefaults()
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *Config) setDefaults() {
	if abs, err := filepath.Abs(c.Dir); err == nil && c.Dir != "" {
		c.Dir = abs
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:9464"
	}
	if c.Runtime.Kind == "" {
		c.Runtime.Kind = kindProcess
	}
	if c.Runtime.Kind == kindKubernetes {
		c.Runtime.Kubernetes.setDefaults()
		return // nothing of what runs leave is on this host
	}
	if c.Runtime.UsrLib == "" {
		c.Runtime.UsrLib = filepath.Join(c.Dir, "usrlib")
	}
	if c.StateStorage.Root == "" {
		c.StateStorage.Root = "file://" + filepath.Join(c.Dir, "state")
	}
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, field, remedy string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %s", field, remedy))
		}
	}
	need(c.Dir != "", "dir", "name the agent's directory")
	_, _, err := net.SplitHostPort(c.Hub.Address)
	need(err == nil, "hub.address", fmt.Sprintf("%q must be host:port of the hub's agents' listener", c.Hub.Address))
	need(c.Hub.TrustDomain != "", "hub.trustDomain", "name the trust domain that `cluster invite` printed")
	need(c.Hub.CAFile != "" || c.Hub.CAPin != "", "hub.caFile", "name the hub's root certificate file, or its pin in hub.caPin")
	switch c.Runtime.Kind {
	case kindProcess:
		need(len(c.Runtime.Flink) > 0, "runtime.flink", "name the home of at least one Flink distribution by version")
	case kindKubernetes:
		errs = append(errs, c.Runtime.Kubernetes.validate()...)
	default:
		need(false, "runtime.kind", fmt.Sprintf("%q is not known, use process or kubernetes", c.Runtime.Kind))
	}
	if addr := c.Health.Listen; addr != "" {
		_, _, err := net.SplitHostPort(addr)
		need(err == nil, "health.listen", fmt.Sprintf("%q must be host:port", addr))
	}
	if addr := c.Metrics.Listen; addr != "" {
		_, _, err := net.SplitHostPort(addr)
		need(err == nil, "metrics.listen", fmt.Sprintf("%q must be host:port", addr))
		need(c.Metrics.Public || telemetry.Loopback(addr), "metrics.listen",
			fmt.Sprintf("other hosts could connect to %q: use 127.0.0.1:PORT, or say metrics.public: true", addr))
	}
	if c.Capacity.Memory != "" {
		_, err := flink.ParseMemory(c.Capacity.Memory)
		need(err == nil, "capacity.memory", fmt.Sprintf("%q must be an amount such as 8Gi", c.Capacity.Memory))
	}
	return errors.Join(errs...)
}
