package hub

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// Config is the hub's configuration file. Addresses to listen on are host:port, an empty host meaning all addresses.
type Config struct {
	// Dir holds everything that the hub keeps. It belongs to one hub at a time.
	Dir string `yaml:"dir"`
	// TrustDomain, if set, must be the one that Dir was made for.
	TrustDomain string   `yaml:"trustDomain,omitempty"`
	Agents      Endpoint `yaml:"agents"`
	Admin       Endpoint `yaml:"admin"`
	// Metrics is where /metrics, /healthz and /readyz are served, in plain text. Empty: nowhere.
	Metrics Metrics `yaml:"metrics,omitempty"`
	// Health is where /healthz and /readyz alone are served, also to other hosts: for probes. Empty: nowhere.
	Health Listener `yaml:"health,omitempty"`
	// Names are the DNS names and addresses that the hub's certificate stands for, so that curl can check it; the hosts
	// that others are told to dial need not be repeated. The certificate is made at each start.
	Names []string `yaml:"names,omitempty"`
	// CertificateLife is how long an agent's certificate is valid; agents renew at half of it.
	CertificateLife time.Duration `yaml:"certificateLife"`
	Log             Log           `yaml:"log,omitempty"`
}

// Endpoint is a port that others dial.
type Endpoint struct {
	Listen string `yaml:"listen"`
	// Advertise is the host:port that others are told to dial. Empty: where the hub listens.
	Advertise string `yaml:"advertise,omitempty"`
}

// Metrics is the port of the metrics: for this host alone, unless Public says that whoever can connect may read them.
type Metrics struct {
	Listen string `yaml:"listen"`
	Public bool   `yaml:"public,omitempty"`
}

// Listener is a port.
type Listener struct {
	Listen string `yaml:"listen"`
}

// Log says how to log: format text or json, level debug, info, warn or error.
type Log struct {
	Format string `yaml:"format,omitempty"`
	Level  string `yaml:"level,omitempty"`
}

// Bounds of CertificateLife.
const (
	MinCertificateLife = time.Minute
	MaxCertificateLife = 30 * 24 * time.Hour
)

// DefaultConfig is what a file need not say. Dir has no default.
func DefaultConfig() Config {
	return Config{
		Agents:          Endpoint{Listen: ":7443"},
		Admin:           Endpoint{Listen: "127.0.0.1:7444"},
		Metrics:         Metrics{Listen: "127.0.0.1:7445"},
		Names:           []string{"localhost", "127.0.0.1", "::1"},
		CertificateLife: 24 * time.Hour,
		Log:             Log{Format: "text", Level: "info"},
	}
}

// LoadConfig reads a file over the defaults. A key that it does not know is refused, with its line.
func LoadConfig(name string) (Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return Config{}, fmt.Errorf("reading the hub's configuration: %w", err)
	}
	defer f.Close()
	cfg := DefaultConfig()
	if err := yaml.NewDecoder(f, yaml.Strict()).Decode(&cfg); err != nil {
		// Its own form is a drawing of several lines; people get one.
		return Config{}, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	if err := cfg.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}

	return cfg, nil
}

// Validate tells everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: name the directory that waterwheel-hub init made"))
	}
	for _, a := range []struct {
		field, addr string
		optional    bool
	}{
		{"agents.listen", c.Agents.Listen, false},
		{"agents.advertise", c.Agents.Advertise, true},
		{"admin.listen", c.Admin.Listen, false},
		{"admin.advertise", c.Admin.Advertise, true},
		{"metrics.listen", c.Metrics.Listen, true},
		{"health.listen", c.Health.Listen, true},
	} {
		if a.addr == "" && a.optional {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not host:port", a.field, a.addr))
		}
	}
	if addr := c.Metrics.Listen; addr != "" && !c.Metrics.Public && !telemetry.Loopback(addr) {
		errs = append(errs, fmt.Errorf("metrics.listen: other hosts could connect to %q: use 127.0.0.1:PORT, or say metrics.public: true", addr))
	}
	if c.CertificateLife < MinCertificateLife || c.CertificateLife > MaxCertificateLife {
		errs = append(errs, fmt.Errorf("certificateLife: %s is not within %s and %s",
			c.CertificateLife, MinCertificateLife, MaxCertificateLife))
	}
	for _, n := range c.Names {
		if n == "" || strings.ContainsAny(n, " /:") && net.ParseIP(n) == nil {
			errs = append(errs, fmt.Errorf("names: %q is neither a DNS name nor an address", n))
		}
	}

	return errors.Join(errs...)
}

// AdminAddr is the host:port that admins are told to dial. Of a port 0 only a running hub knows more: see Hub.AdminAddr.
func (c Config) AdminAddr() string { return c.advertised(c.Admin, c.Admin.Listen) }

// advertised is what others are told to dial to reach what listens at addr.
func (c Config) advertised(e Endpoint, addr string) string {
	if e.Advertise != "" {
		return e.Advertise
	}
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host != "" && !ip.IsUnspecified() || len(c.Names) == 0 {
		return addr
	}

	// It listens on all addresses, which nobody can dial.
	return net.JoinHostPort(c.Names[0], port)
}

// certificateNames are the names of the hub's certificate: those configured, and the hosts that others are told to dial.
func (c Config) certificateNames() []string {
	names := slices.Clone(c.Names)
	for _, addr := range []string{c.Agents.Advertise, c.Admin.Advertise} {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "" && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}

	return names
}
