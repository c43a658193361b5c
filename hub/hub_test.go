package hub_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/hub"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// place is a hub's directory, made by Init, with its ports on free ones of loopback.
type place struct {
	t     *testing.T
	cfg   hub.Config
	admin string // directory of the admin's files

	mu    sync.Mutex // guards addrs
	addrs map[string]string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, cfg: hub.DefaultConfig(), addrs: map[string]string{}}
	p.cfg.Dir, p.cfg.TrustDomain = filepath.Join(t.TempDir(), "hub"), "td"
	p.cfg.Agents.Listen, p.cfg.Admin.Listen, p.cfg.Metrics.Listen = "127.0.0.1:1", "127.0.0.1:2", ""
	var err error
	if _, p.admin, err = hub.Init(t.Context(), p.cfg, "jo", quiet()); err != nil {
		t.Fatal(err)
	}

	return p
}

func (p *place) open() (*hub.Hub, error) {
	return hub.New(p.t.Context(), p.cfg, hub.Deps{
		Logger: quiet(), Registry: telemetry.NewRegistry("test"),
		Listen: func(network, addr string) (net.Listener, error) {
			lis, err := new(net.ListenConfig).Listen(p.t.Context(), network, "127.0.0.1:0")
			if err == nil {
				p.mu.Lock()
				p.addrs[addr] = lis.Addr().String()
				p.mu.Unlock()
			}

			return lis, err
		},
	})
}

// run serves until the returned func is called, which returns what Run did.
func (p *place) run() (*hub.Hub, func() error) {
	p.t.Helper()
	h, err := p.open()
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()

	return h, func() error {
		stop()

		return <-ended
	}
}

// call posts JSON to a port as an admin would, with the named root and certificate.
func (p *place) call(port, method string, roots *x509.CertPool, cert *tls.Certificate) (string, error) {
	p.t.Helper()
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	p.mu.Lock()
	url := "https://" + p.addrs[port] + method
	p.mu.Unlock()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)

	return string(text), err
}

func (p *place) adminCert() (*x509.CertPool, *tls.Certificate) {
	p.t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.admin, "cert.pem"), filepath.Join(p.admin, "key.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(p.admin, "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	roots, err := identity.DecodeCertificates(text)
	if err != nil {
		p.t.Fatal(err)
	}

	return identity.Pool(roots...), &cert
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

const (
	agentsPort, adminPort = "127.0.0.1:1", "127.0.0.1:2"
	listTenants           = "/waterwheel.admin.v1.TenantService/ListTenants"
	enrolMethod           = "/waterwheel.agent.v1.EnrolService/Enrol"
)

func TestNewHubServesItsAdminOverTLSThatCurlCanCheck(t *testing.T) {
	p := newPlace(t)
	_, stop := p.run()
	roots, cert := p.adminCert()
	if got, err := p.call(adminPort, listTenants, roots, cert); err != nil || got != `{"items":[{"name":"default"}]}` {
		t.Errorf("got %q, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Errorf("asked to stop, it ended with %v", err)
	}
	// What was there is there in its next life.
	_, stop = p.run()
	if got, err := p.call(adminPort, listTenants, roots, cert); err != nil || !strings.Contains(got, "default") {
		t.Errorf("in its next life: %q, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Errorf("asked to stop, it ended with %v", err)
	}
}

func TestPortsAreForTheirRolesOnly(t *testing.T) {
	p := newPlace(t)
	_, stop := p.run()
	roots, cert := p.adminCert()
	stranger := identitytest.New(t, "td").Admin("jo", time.Hour)
	for name, c := range map[string]struct {
		port, method string
		cert         *tls.Certificate
	}{
		"admins: no certificate":       {adminPort, listTenants, nil},
		"admins: of another authority": {adminPort, listTenants, stranger},
		"agents: an admin":             {agentsPort, enrolMethod, cert},
		"agents: of another authority": {agentsPort, enrolMethod, stranger},
	} {
		if got, err := p.call(c.port, c.method, roots, c.cert); err == nil {
			t.Errorf("%s: was let in and told %q", name, got)
		}
	}
	// Without a certificate the agents' port lets a caller in as far as the table: it speaks gRPC only, so this is no 200.
	if got, err := p.call(agentsPort, "/waterwheel.agent.v1.SyncService/Sync", roots, nil); err == nil && strings.Contains(got, "{") {
		t.Errorf("anonymous on the agents' port: %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestDirectoryBelongsToOneHubAtATime(t *testing.T) {
	p := newPlace(t)
	_, stop := p.run()
	if second, err := p.open(); err == nil {
		t.Error("a second hub opened the directory")
		_ = second.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	h, err := p.open()
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestInitTakesAnEmptyDirectoryOnly(t *testing.T) {
	p := newPlace(t)
	if _, _, err := hub.Init(t.Context(), p.cfg, "jo", quiet()); err == nil {
		t.Error("made a hub over a hub")
	}
	for _, private := range []string{"mac.key", "ca/root.key", "admin/jo/key.pem", "hub.yaml"} {
		info, err := os.Stat(filepath.Join(p.cfg.Dir, private))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want 0600", private, info, err)
		}
	}
	if got, err := hub.LoadConfig(filepath.Join(p.cfg.Dir, hub.ConfigFile)); err != nil || got.Admin != p.cfg.Admin {
		t.Errorf("its configuration reads as %+v, %v", got, err)
	}
}

func TestInitIntoAFreshVolumeOrAfterOneThatWasKilled(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"fresh volume": func(t *testing.T, dir string) { mkdir(t, filepath.Join(dir, "lost+found")) },
		"killed while it made the hub": func(t *testing.T, dir string) {
			mkdir(t, filepath.Join(dir, ".making", "ca"))
		},
		"killed while it moved the hub": func(t *testing.T, dir string) {
			cfg := newPlace(t).cfg
			for _, part := range []string{"store", "mac.key", "hub.yaml", "admin"} {
				mkdir(t, filepath.Join(dir, ".made"))
				if err := os.Rename(filepath.Join(cfg.Dir, part), filepath.Join(dir, ".made", part)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(cfg.Dir, "ca"), filepath.Join(dir, "ca")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &place{t: t, cfg: newPlace(t).cfg, addrs: map[string]string{}}
			p.cfg.Dir = t.TempDir()
			spoil(t, p.cfg.Dir)
			if there, err := hub.Exists(p.cfg); there || err != nil {
				t.Fatalf("exists before it is made: %v, %v", there, err)
			}
			if _, _, err := hub.Init(t.Context(), p.cfg, "jo", quiet()); err != nil {
				t.Fatal(err)
			}
			if there, err := hub.Exists(p.cfg); !there || err != nil {
				t.Errorf("exists: %v, %v", there, err)
			}
			h, err := p.open()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHubIsNotTakenForAnother(t *testing.T) {
	p := newPlace(t)
	other, broken, alien := p.cfg, newPlace(t).cfg, p.cfg
	other.TrustDomain = "other"
	if err := os.RemoveAll(filepath.Join(broken.Dir, "store")); err != nil {
		t.Fatal(err)
	}
	alien.Dir = t.TempDir()
	mkdir(t, filepath.Join(alien.Dir, "pgdata"))
	for want, cfg := range map[string]hub.Config{"was made for td": other, "from a backup": broken, "holds no hub": alien} {
		if there, err := hub.Exists(cfg); there || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error that says %q", there, err, want)
		}
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

// New names need no new hub: its certificate is made at each start.
func TestAfterARestartTheCertificateStandsForTheNewNames(t *testing.T) {
	p := newPlace(t)
	reach := func(name string) error {
		_, stop := p.run()
		roots, _ := p.adminCert()
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2"}}}
		p.mu.Lock()
		addr := p.addrs[agentsPort]
		p.mu.Unlock()
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			err = c.Close()
		}
		if err := stop(); err != nil {
			t.Error(err)
		}

		return err
	}
	const name, advertised = "hub-admin.waterwheel.svc", "hub.example.org"
	if reach("localhost") != nil || reach(name) == nil {
		t.Fatal("the certificate stands for something else from the start")
	}
	p.cfg.Names = append(p.cfg.Names, name)
	p.cfg.Admin.Advertise = advertised + ":7444"
	for _, n := range []string{"localhost", name, advertised} {
		if err := reach(n); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestHealthIsServedToOtherHostsAndMetricsOnlyWhenSaid(t *testing.T) {
	c := hub.DefaultConfig()
	c.Dir, c.Health.Listen, c.Metrics.Listen = "/d", ":7446", ":7445"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "metrics.public") {
		t.Errorf("metrics for everybody, unsaid: %v", err)
	}
	if c.Metrics.Public = true; c.Validate() != nil {
		t.Error(c.Validate())
	}
	p := newPlace(t)
	p.cfg.Health.Listen = "127.0.0.1:3"
	_, stop := p.run()
	for path, want := range map[string]int{"/readyz": http.StatusOK, "/metrics": http.StatusNotFound} {
		if got := status(t, "http://"+p.addrs[p.cfg.Health.Listen]+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// status asks until the hub, which has just been started, is ready.
func status(t *testing.T, url string) int {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
			return resp.StatusCode
		}
	}
}

func TestAnAdminsContextNeedsNoOtherFile(t *testing.T) {
	p := newPlace(t)
	text, err := hub.AdminContext(p.cfg, "jo", "", "hub.example.org:7444")
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(p.admin, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"currentContext: td\n", "hub: hub.example.org:7444", strings.Split(string(key), "\n")[1], "certData: |", "caData: |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, bad := range [][2]string{{"sam", ""}, {"jo", "hub"}} {
		if _, err := hub.AdminContext(p.cfg, bad[0], "", bad[1]); err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestInitThatCannotBeDoneLeavesNothing(t *testing.T) {
	p := newPlace(t)
	for name, edit := range map[string]func(*hub.Config) string{
		"admin":        func(*hub.Config) string { return "../jo" },
		"trust domain": func(c *hub.Config) string { c.TrustDomain = "Not One"; return "jo" },
		"life":         func(c *hub.Config) string { c.CertificateLife = time.Second; return "jo" },
	} {
		cfg := p.cfg
		cfg.Dir = filepath.Join(t.TempDir(), "hub")
		if _, _, err := hub.Init(t.Context(), cfg, edit(&cfg), quiet()); err == nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a part of a hub is left, which the next init refuses: %v", name, err)
		}
	}
}

func TestFurtherAdminIsMadeOnceAndForTheSameHub(t *testing.T) {
	p := newPlace(t)
	dir, err := hub.IssueAdmin(p.cfg, "sam")
	if err != nil || filepath.Base(dir) != "sam" {
		t.Fatalf("%s %v", dir, err)
	}
	if _, err := hub.IssueAdmin(p.cfg, "sam"); err == nil {
		t.Error("the files of an admin were written over")
	}
	for _, name := range []string{"", "a/b", "../x"} {
		if _, err := hub.IssueAdmin(p.cfg, name); !errors.Is(err, identity.ErrID) {
			t.Errorf("%q: %v, want it refused as a name", name, err)
		}
	}
	_, stop := p.run()
	p.admin = dir
	roots, cert := p.adminCert()
	if got, err := p.call(adminPort, listTenants, roots, cert); err != nil || !strings.Contains(got, "default") {
		t.Errorf("got %q, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHubWithoutItsFilesOrOfAnotherTrustDomainIsRefused(t *testing.T) {
	p := newPlace(t)
	other := p.cfg
	other.TrustDomain = "other"
	empty := p.cfg
	empty.Dir = t.TempDir()
	for name, c := range map[string]struct {
		cfg  hub.Config
		want string
	}{"domain": {other, "was made for td"}, "empty": {empty, "waterwheel-hub init"}} {
		_, err := hub.New(t.Context(), c.cfg, hub.Deps{Logger: quiet(), Registry: telemetry.NewRegistry("test")})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
	}
}

func TestHubThatLostAFileIsRefusedWithTheRemedy(t *testing.T) {
	for _, name := range []string{"ca/root.key", "ca/root.pem", "mac.key", "store/log.db"} {
		for how, spoil := range map[string]func(string) error{
			"gone":  os.Remove,
			"empty": func(path string) error { return os.Truncate(path, 0) },
		} {
			p := newPlace(t)
			if err := spoil(filepath.Join(p.cfg.Dir, name)); err != nil {
				t.Fatal(err)
			}
			_, err := hub.New(t.Context(), p.cfg, hub.Deps{Logger: quiet(), Registry: telemetry.NewRegistry("test")})
			if err == nil || !strings.Contains(err.Error(), "from a backup of this hub") || strings.Contains(err.Error(), "holds no hub") {
				t.Errorf("%s %s: %v, want it to say what to restore", name, how, err)
			}
		}
	}
}

func TestSilentConnectionsKeepNoAgentOutAndDoNotHoldUpTheEnd(t *testing.T) {
	p := newPlace(t)
	_, stop := p.run()
	roots, _ := p.adminCert()
	p.mu.Lock()
	addr := p.addrs[agentsPort]
	p.mu.Unlock()
	for range 200 { // many times the handshakes that are let through at once
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatalf("an agent was kept out: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 15*time.Second { // of 20 for which one that never speaks is let be
		t.Errorf("the hub waited %s for connections that never spoke", took)
	}
}
