package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
)

// listen answers each connection on loopback until the test ends.
func listen(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		lis.Close()
		<-ended
	})

	return lis.Addr().String()
}

// handshakes serves TLS as configured.
func handshakes(cfg *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		server := tls.Server(conn, cfg)
		if server.Handshake() == nil {
			_, _ = server.Write([]byte{0})      // as HTTP/2 does, unasked
			_, _ = server.Read(make([]byte, 1)) // until the other end closes
		}
	}
}

func hubTLS(a *identitytest.Authority, cert *tls.Certificate) *tls.Config {
	return identity.ServerTLS(identity.Server{
		Source: a.Source(cert), TrustDomain: "td", AllowAnonymous: true, Check: func(identity.Peer) error { return nil },
	})
}

// later is some minutes on: the test's certificates begin a minute ago, which the hub's never do.
func later() time.Time { return time.Now().Add(10 * time.Minute) }

func (h Hub) at(t *testing.T) []Finding {
	t.Helper()
	if h.TrustDomain == "" {
		h.TrustDomain = "td"
	}
	if h.Now == nil {
		h.Now = later
	}
	if h.Proxy == nil {
		h.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	found := HubCheck(h).Look(t.Context())
	var whats []string
	for _, f := range found {
		whats = append(whats, f.What)
	}
	if got := strings.Join(whats, ","); got != "hub DNS,hub TCP,hub TLS,clock" {
		t.Errorf("looked at %s; want all four, in order", got)
	}

	return found
}

func levels(found []Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, string(f.Level))
	}

	return strings.Join(out, " ")
}

func TestTheHubOfTheInvitationIsKnown(t *testing.T) {
	a := identitytest.New(t, "td")
	addr := listen(t, handshakes(hubTLS(a, a.Hub(time.Hour))))
	for name, h := range map[string]Hub{
		"by pin":   {Pin: identity.Pin(a.Root)},
		"by roots": {Roots: identity.Pool(a.Root)},
	} {
		h.Address = addr
		found := h.at(t)
		if levels(found) != "ok ok ok ok" || !strings.Contains(found[2].Finding, "spiffe://td/hub") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestWhatAnswersInTheHubsPlaceIsNamed(t *testing.T) {
	a, other, fleet := identitytest.New(t, "td"), identitytest.New(t, "td"), identitytest.New(t, "elsewhere")
	old := hubTLS(a, a.Hub(time.Hour))
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	inspection := httptest.NewUnstartedServer(http.NotFoundHandler())
	inspection.EnableHTTP2 = true
	inspection.StartTLS()
	t.Cleanup(inspection.Close) // after the parallel ones
	agent := hubTLS(a, a.Cluster("c1", time.Hour))
	people := identity.ServerTLS(identity.Server{Source: a.Source(a.Hub(time.Hour)), TrustDomain: "td", Check: func(identity.Peer) error { return nil }})
	for name, tc := range map[string]struct {
		addr   string
		levels string
		says   string
	}{
		"nobody":              {"127.0.0.1:1", "ok FAIL warn warn", "connection refused"}, // a port that is never given away
		"a TLS inspection":    {inspection.Listener.Addr().String(), "ok ok FAIL warn", "something in the path ends TLS"},
		"a TLS 1.2 relay":     {listen(t, handshakes(old)), "ok ok FAIL ok", "something in between opens TLS"},
		"a hub made anew":     {listen(t, handshakes(hubTLS(other, other.Hub(time.Hour)))), "ok ok FAIL warn", "invite this cluster again"},
		"another fleet":       {listen(t, handshakes(hubTLS(fleet, fleet.Hub(time.Hour)))), "ok ok FAIL warn", "another fleet"},
		"an agent":            {listen(t, handshakes(agent)), "ok ok FAIL warn", "spiffe://td/cluster/c1"},
		"its port for admins": {listen(t, handshakes(people)), "ok ok FAIL ok", "port for admins"},
		"plain HTTP":          {listen(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); _, _ = io.Copy(io.Discard, c) }), "ok ok FAIL warn", "speaks no TLS"},
		"one that hangs up":   {listen(t, func(net.Conn) {}), "ok ok FAIL warn", "broken off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := Hub{Address: tc.addr, Pin: identity.Pin(a.Root)}.at(t)
			var text strings.Builder
			if err := Write(&text, found); err != nil {
				t.Fatal(err)
			}
			if levels(found) != tc.levels || !strings.Contains(text.String(), tc.says) {
				t.Errorf("levels %s, want %s, and in it %q:\n%s", levels(found), tc.levels, tc.says, text.String())
			}
			for _, f := range found {
				if f.Level == Fail && f.Remedy == "" {
					t.Errorf("no remedy: %+v", f)
				}
			}
		})
	}
}

func TestSilenceInTheHubsPlaceIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found := Hub{Address: "192.0.2.1:7443", Pin: "any", Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()

			return ours, nil
		}}.at(t)
		if levels(found) != "ok ok FAIL warn" || !strings.Contains(found[2].Finding, "then silence") || found[2].Remedy == "" {
			t.Errorf("%+v", found)
		}
	})
}

func TestANameThatIsNotKnownIsNotTheEnd(t *testing.T) {
	a := identitytest.New(t, "td")
	addr := listen(t, handshakes(hubTLS(a, a.Hub(time.Hour))))
	h := Hub{
		Address: "hub.example.org:7443", Pin: identity.Pin(a.Root),
		Resolve: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	if found := h.at(t); levels(found) != "FAIL ok ok ok" {
		t.Errorf("%+v", found)
	}
	reached := h.Dial
	h.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Name: "hub.example.org"}}
	}
	if found := h.at(t); levels(found) != "FAIL warn warn warn" {
		t.Errorf("one fault told twice: %+v", found)
	}
	h.Dial = reached
	h.Resolve = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1", "192.0.2.2"}, nil }
	if found := h.at(t); found[0] != (Finding{OK, whatDNS, "hub.example.org is 192.0.2.1, 192.0.2.2", ""}) {
		t.Errorf("%+v", found[0])
	}
}

// connectProxy is a proxy that makes a tunnel to one place, whatever it is asked for, or refuses.
func connectProxy(t *testing.T, to string, asked chan<- *http.Request) string {
	return listen(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		asked <- req
		if to == "" {
			fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		fmt.Fprint(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(out, c) }()
		_, _ = io.Copy(c, out)
	})
}

func TestTheWayLeadsThroughTheProxyOfTheEnvironment(t *testing.T) {
	a := identitytest.New(t, "td")
	addr := listen(t, handshakes(hubTLS(a, a.Hub(time.Hour))))
	for to, want := range map[string]string{addr: "warn ok ok ok", "": "warn FAIL warn warn"} {
		asked := make(chan *http.Request, 1)
		proxy := connectProxy(t, to, asked)
		found := Hub{
			Address: "hub.internal:7443", Pin: identity.Pin(a.Root),
			Resolve: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
			Proxy: func(*http.Request) (*url.URL, error) {
				return &url.URL{Scheme: "http", Host: proxy, User: url.UserPassword("jo", "secret")}, nil
			},
		}.at(t)
		if levels(found) != want || to == "" && !strings.Contains(found[1].Finding+found[1].Remedy, "NO_PROXY=hub.internal") {
			t.Errorf("tunnel to %q: %+v", to, found)
		}
		req := <-asked
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth()
		if req.Method != http.MethodConnect || req.Host != "hub.internal:7443" || user != "jo" || password != "secret" {
			t.Errorf("asked the proxy for %s %s as %s", req.Method, req.Host, user)
		}
	}
}

func TestAWrongClockIsSaid(t *testing.T) {
	made := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{NotBefore: made.Add(-issuedBefore), NotAfter: made.Add(24 * time.Hour)}
	for off, want := range map[time.Duration]struct {
		level Level
		says  string
	}{
		time.Hour:        {OK, "within the life"},
		-time.Second:     {Warn, "behind by 1s at least"},
		-4 * time.Minute: {Warn, "behind by 4m0s"},
		-6 * time.Minute: {Fail, "behind by 1m0s at least"},
		25 * time.Hour:   {Fail, "ahead by 1h0m0s at least"},
	} {
		if f := clock(leaf, made.Add(off)); f.Level != want.level || !strings.Contains(f.Finding, want.says) || (f.Level == OK) != (f.Remedy == "") {
			t.Errorf("%s: %+v", off, f)
		}
	}
	// A clock that is wrong is told as that, not as a stranger in the hub's place.
	a := identitytest.New(t, "td")
	addr := listen(t, handshakes(hubTLS(a, a.Hub(time.Hour))))
	for _, off := range []time.Duration{-time.Hour, 48 * time.Hour} {
		h := Hub{Address: addr, Pin: identity.Pin(a.Root), Now: func() time.Time { return time.Now().Add(off) }}
		if off < 0 { // the root of the test is no older
			h.Now = func() time.Time { return a.Root.NotBefore.Add(-time.Second) }
		}
		if found := h.at(t); levels(found) != "ok ok ok FAIL" {
			t.Errorf("off by %s: %+v", off, found)
		}
	}
}
