package cli

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
)

// serve is a hub on loopback with real TLS; it returns its address.
func serve(t *testing.T, f *fakeHub, authority *identitytest.Authority, check func(identity.Peer) error) string {
	t.Helper()
	server := connect.NewServer()
	adminv1connect.RegisterJobServiceHandler(server, f)
	adminv1connect.RegisterClusterServiceHandler(server, f)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: identity.ServerTLS(identity.Server{
		Source: authority.Source(authority.Hub(time.Hour)), TrustDomain: "example.org", Check: check, NextProtos: []string{"h2", "http/1.1"},
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
	return listener.Addr().String()
}

// admin writes the files of an admin, as a hub does, and returns their directory.
func admin(t *testing.T, authority *identitytest.Authority, roots *identitytest.Authority, life time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	cert := authority.Admin("jo", life)
	key, err := identity.EncodeKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"key.pem": key, "cert.pem": identity.EncodeCertificates(cert.Leaf), "ca.pem": identity.EncodeCertificates(roots.Root),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// process runs a command line as the process would.
func process(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	root := New("test")
	root.SetOut(&out)
	root.SetErr(&errs)
	code := execute(ctx, root, args)
	return result{code, out.String(), errs.String()}
}

func TestContextsLeadToAHubOverMutualTLS(t *testing.T) {
	t.Setenv(configVariable, filepath.Join(t.TempDir(), "deep", "config.yaml"))
	authority := identitytest.New(t, "example.org")
	address := serve(t, &fakeHub{jobs: sampleJobs()}, authority, func(identity.Peer) error { return nil })
	dir := admin(t, authority, authority, time.Hour)

	got := process(t.Context(), "config", "set-context", "here", "--hub", address, "--identity", dir)
	if got.code != ExitOK {
		t.Fatal(got.err)
	}
	got = process(t.Context(), "get", "jobs")
	if got.code != ExitOK || !strings.Contains(got.out, "clicks") {
		t.Fatalf("exit %d: %s%s", got.code, got.out, got.err)
	}
	if got := process(t.Context(), "get", "job", "nope"); got.code != ExitNotFound {
		t.Errorf("an error over the network: exit %d: %s", got.code, got.err)
	}
}

func TestTroubleWithTheHubIsNamedWithWhatToDo(t *testing.T) {
	t.Setenv(configVariable, filepath.Join(t.TempDir(), "config.yaml"))
	authority, stranger := identitytest.New(t, "example.org"), identitytest.New(t, "example.org")
	refuse := func(identity.Peer) error { return os.ErrPermission }
	const nobody = "127.0.0.1:1" // a port that nobody is given by chance
	open := serve(t, &fakeHub{}, authority, func(identity.Peer) error { return nil })
	for name, tc := range map[string]struct {
		address, dir string
		code         int
		says         []string
	}{
		"nobody there":  {nobody, admin(t, authority, authority, time.Hour), ExitUnreachable, []string{nobody, "connection refused", "is it running"}},
		"another's hub": {open, admin(t, stranger, stranger, time.Hour), ExitError, []string{open, "is not the hub of context"}},
		"my own kind":   {open, admin(t, stranger, authority, time.Hour), ExitError, []string{open, "refuses the certificate"}},
		"not let in":    {serve(t, &fakeHub{}, authority, refuse), admin(t, authority, authority, time.Hour), ExitError, []string{"refuses the certificate"}},
		"ended":         {open, admin(t, authority, authority, -30*time.Second), ExitError, []string{"ended", "get a new one"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := process(t.Context(), "config", "set-context", "x", "--hub", tc.address, "--identity", tc.dir, "--use"); got.code != ExitOK {
				t.Fatal(got.err)
			}
			start := time.Now()
			got := process(t.Context(), "get", "jobs")
			for _, s := range tc.says {
				if !strings.Contains(got.err, s) {
					t.Errorf("%q is not in: %s", s, got.err)
				}
			}
			if got.code != tc.code || strings.Count(got.err, "\n") != 1 || time.Since(start) > 30*time.Second {
				t.Errorf("exit %d, want %d, after %s: %s", got.code, tc.code, time.Since(start), got.err)
			}
		})
	}
}

func TestContextsAreKeptAsKubectlKeepsThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	t.Setenv(configVariable, path)
	authority := identitytest.New(t, "example.org")
	dir := admin(t, authority, authority, time.Hour)
	run := func(want int, args ...string) string {
		t.Helper()
		got := process(t.Context(), append([]string{"config"}, args...)...)
		if got.code != want {
			t.Fatalf("%q: exit %d, want %d: %s", args, got.code, want, got.err)
		}
		return got.out + got.err
	}
	run(ExitUsage, "current-context")
	run(ExitUsage, "set-context", "a")
	run(ExitError, "set-context", "a", "--hub", "h:1", "--identity", t.TempDir())
	run(ExitOK, "set-context", "a", "--hub", "h:1", "--identity", dir)
	run(ExitOK, "set-context", "b", "--hub", "h:2", "--identity", dir, "--with-tenant", "team")
	if got := run(ExitOK, "current-context"); got != "a\n" {
		t.Errorf("the first context is not current: %q", got)
	}
	run(ExitOK, "use-context", "b")
	run(ExitOK, "set-context", "b", "--hub", "h:3") // the rest stays
	want := "CURRENT   NAME   HUB   TENANT\n-         a      h:1   default\n*         b      h:3   team\n"
	if got := run(ExitOK, "get-contexts"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := run(ExitNotFound, "use-context", "bb"); !strings.Contains(got, `did you mean "b"?`) && !strings.Contains(got, `did you mean "a"?`) {
		t.Errorf("no near miss: %s", got)
	}
	run(ExitOK, "delete-context", "b")
	run(ExitUsage, "current-context")
	run(ExitNotFound, "delete-context", "b")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("contexts:\n- nam: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(ExitError, "get-contexts"); !strings.Contains(got, "nam") || !strings.Contains(got, path) {
		t.Errorf("an unknown field: %s", got)
	}
}

func TestPathsOfAContextAreRelativeToItsFile(t *testing.T) {
	authority := identitytest.New(t, "example.org")
	dir := admin(t, authority, authority, time.Hour)
	path := filepath.Join(dir, "config.yaml")
	text := "currentContext: dev\ncontexts:\n  - name: dev\n    hub: 127.0.0.1:1\n    caFile: \"ca.pem\"\n    certFile: cert.pem\n    keyFile: key.pem\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cfg.Find("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(cfg, c, time.Now()); err != nil {
		t.Error(err)
	}
	c.CAFile, c.CAData = "", "no PEM"
	if _, err := dial(cfg, c, time.Now()); err == nil {
		t.Error("roots without a certificate were taken")
	}
	c.Hub = "host"
	if _, err := dial(cfg, c, time.Now()); err == nil {
		t.Error("a hub without a port was taken")
	}
}
