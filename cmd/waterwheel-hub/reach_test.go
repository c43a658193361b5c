package main

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
)

// listen answers handshakes with a certificate, asking for one in return.
func listen(t *testing.T, a *identitytest.Authority, cert *tls.Certificate) string {
	t.Helper()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", identity.ServerTLS(identity.Server{Source: a.Source(cert)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()

	return lis.Addr().String()
}

func answer(conn net.Conn) {
	defer conn.Close()
	if c, ok := conn.(*tls.Conn); ok {
		_ = c.Handshake() // the other end shows no certificate: refused after it has seen this one
	}
}

func TestReachKnowsTheHub(t *testing.T) {
	a := identitytest.New(t, "example.org")
	hub, agent := listen(t, a, a.Hub(time.Hour)), listen(t, a, a.Cluster("c1", time.Hour))
	const nobody = "127.0.0.1:1" // a port that nobody is given by chance
	for _, tc := range []struct {
		domain, addr, want string // want "" is no error
	}{
		{"example.org", hub, ""},
		{"other.org", hub, "it is spiffe://example.org/hub, not spiffe://other.org/hub"},
		{"example.org", agent, "it is spiffe://example.org/cluster/c1"},
		{"example.org", nobody, "refused"},
		{"Not A Domain", hub, "not a waterwheel identity"},
	} {
		var out bytes.Buffer
		c := command()
		c.SetOut(&out)
		c.SetArgs([]string{"reach", "--trust-domain", tc.domain, tc.addr})
		err := c.ExecuteContext(t.Context())
		switch {
		case tc.want == "" && (err != nil || !strings.Contains(out.String(), "answers as spiffe://example.org/hub")):
			t.Errorf("%s at %s: %v, %q", tc.domain, tc.addr, err, out.String())
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s at %s: got %v, want %q", tc.domain, tc.addr, err, tc.want)
		}
	}
}
