package keys

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

const run = "j0123456789abcdef0123456789abcdef-t1-r2"

var master = bytes.Repeat([]byte{7}, MasterSize)

func derive(t *testing.T, secret []byte, name string) *Run {
	t.Helper()
	r, err := Derive(secret, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func secretOf(t *testing.T, r *Run, hosts ...string) Stores {
	t.Helper()
	s, err := r.Stores(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSameMasterAndRunGiveTheSameAuthority(t *testing.T) {
	a, b := derive(t, master, run), derive(t, master, run)
	if !bytes.Equal(a.ca.Raw, b.ca.Raw) || !bytes.Equal(a.client.Raw, b.client.Raw) || a.password != b.password {
		t.Error("two derivations differ")
	}
	other := derive(t, master, run+"0")
	if other.caKey.Equal(a.caKey) || other.password == a.password {
		t.Error("two runs share a secret")
	}
	if derive(t, bytes.Repeat([]byte{8}, MasterSize), run).caKey.Equal(a.caKey) {
		t.Error("two masters share a key")
	}
	if _, err := Derive(master[1:], run); err == nil {
		t.Error("a short master secret is taken")
	}
}

// server answers at the names of a run as Flink's REST would: TLS 1.3, clients of that run's authority only.
func server(t *testing.T, r *Run, host string) (addr string) {
	t.Helper()
	s := secretOf(t, r, host)
	key, cert, _, err := pkcs12.DecodeChain(s.KeyStore, s.Password)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, q.Host) }))
	srv.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func TestTheClientPicksTheRunsKeysByTheHostName(t *testing.T) {
	host := run + "-rest.team-a.svc"
	other := run + "1-rest.team-a.svc"
	at := map[string]string{
		host + ":8081":                server(t, derive(t, master, run), host),
		other + ":8081":               server(t, derive(t, master, run+"1"), other),
		run + "2-rest.x.svc:8081":     server(t, derive(t, master, run), host), // another run's server
		run + "-rest.team-b.svc:8081": server(t, derive(t, master, run), host), // another name of the same
		run + "3-rest.x.svc:8081":     server(t, derive(t, bytes.Repeat([]byte{1}, MasterSize), run+"3"), run+"3-rest.x.svc"),
	}
	ring := NewRing(func(context.Context) ([]byte, error) { return master, nil })
	client := ring.HTTPClient(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at[addr])
	})
	defer client.CloseIdleConnections()
	get := func(url string) (string, error) {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(q)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for _, h := range []string{host, other} {
		if got, err := get("https://" + h + ":8081/"); err != nil || got != h+":8081" {
			t.Errorf("%s: %q, %v", h, got, err)
		}
	}
	for _, url := range []string{
		"https://" + run + "2-rest.x.svc:8081/", "https://" + run + "-rest.team-b.svc:8081/", "https://" + run + "3-rest.x.svc:8081/",
	} {
		_, err := get(url)
		_, verify := errors.AsType[*tls.CertificateVerificationError](err)
		if !verify {
			t.Errorf("%s: %v, wanted a failed verification", url, err)
		}
	}
	for _, url := range []string{"http://" + host + ":8081/", "https://example.org/"} {
		if _, err := get(url); err == nil {
			t.Errorf("%s is called", url)
		}
	}
}

// A request that gave up leaves nothing behind: no goroutine, no connection.
func TestASilentServerIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		client := NewRing(func(context.Context) ([]byte, error) { return master, nil }).HTTPClient(func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer close(closed)
				_, _ = io.Copy(io.Discard, theirs) // takes all, and never answers
			}()
			return ours, nil
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+run+"-rest.team-a.svc:8081/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(q); err == nil {
			resp.Body.Close()
			t.Error("it answered")
		}
		select {
		case <-closed:
		case <-time.After(time.Hour):
			t.Fatal("the connection is open yet")
		}
		if took := time.Since(began); took > dialLimit {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestAServerOfARunRefusesOthers(t *testing.T) {
	host := run + "-rest.team-a.svc"
	addr := server(t, derive(t, master, run), host)
	call := func(cfg *tls.Config) error {
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the refusal of a client comes after its handshake
		return err
	}
	none := derive(t, master, run).TLS(host)
	none.Certificates = nil
	wrong := derive(t, master, run).TLS(host)
	wrong.Certificates = derive(t, master, run+"9").TLS(host).Certificates
	for name, cfg := range map[string]*tls.Config{"no certificate": none, "another run's certificate": wrong} {
		if err := call(cfg); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("%s: %v, wanted a TLS alert", name, err)
		}
	}
}

func TestJavaReadsTheStores(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Fatal("this test needs a JDK's keytool: ", err)
	}
	s := secretOf(t, derive(t, master, run), run+"-rest.team-a.svc")
	for name, c := range map[string]struct {
		store []byte
		want  string
	}{
		"server": {s.KeyStore, "PrivateKeyEntry"}, "client": {s.Client, "PrivateKeyEntry"}, "trust": {s.TrustStore, "trustedCertEntry"},
	} {
		path := filepath.Join(t.TempDir(), "store.p12")
		if err := os.WriteFile(path, c.store, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), keytool, "-J-Duser.language=en", "-list", "-storetype", "PKCS12",
			"-keystore", path, "-storepass", s.Password).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(c.want)) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
