package keys

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of what a Ring keeps and waits for.
const (
	maxKept   = 1024             // derived keys that are kept ready
	dialLimit = 10 * time.Second // from the first packet to the end of the handshake
)

// Dial opens a connection.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Ring hands out the keys of runs, of one master secret.
type Ring struct {
	master func(context.Context) ([]byte, error)

	mu   sync.Mutex      // guards kept
	kept map[string]*Run // by run name
}

// NewRing makes a Ring. master is asked whenever keys are derived.
func NewRing(master func(context.Context) ([]byte, error)) *Ring {
	return &Ring{master: master, kept: map[string]*Run{}}
}

// Run derives the keys of a run.
func (g *Ring) Run(ctx context.Context, name string) (*Run, error) {
	g.mu.Lock()
	r, ok := g.kept[name]
	g.mu.Unlock()
	if ok {
		return r, nil
	}
	master, err := g.master(ctx)
	if err != nil {
		return nil, err
	}
	if r, err = Derive(master, name); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.kept) >= maxKept {
		clear(g.kept)
	}
	g.kept[name] = r
	return r, nil
}

// HTTPClient returns a client for https://<run>-rest.<…>:<port>. It shows each
// run's server the client certificate of that run, and speaks to no server that
// has no certificate of that run's authority in that very name.
func (g *Ring) HTTPClient(dial Dial) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("a run's REST is not called without TLS")
		},
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return g.dialTLS(ctx, dial, network, addr)
		},
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}}
}

// dialTLS opens a connection within dialLimit. The transport goes on dialling for requests that have ended long ago: to a
// JobManager that takes connections and says nothing, as one that is stopped does, it would do so for ever.
func (g *Ring) dialTLS(ctx context.Context, dial Dial, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("call a run's REST: %w", err)
	}
	label, _, _ := strings.Cut(host, ".")
	name, ok := strings.CutSuffix(label, "-rest")
	if !ok {
		return nil, fmt.Errorf("call a run's REST: %q is not the name of one", host)
	}
	run, err := g.Run(ctx, name)
	if err != nil {
		return nil, err
	}
	raw, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, run.TLS(host))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("shake hands with %s: %w", host, err), raw.Close())
	}
	return conn, nil
}

// TLS is a client's side of a connection to this run's REST server under a host name.
func (r *Run) TLS(host string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(r.ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: host,
		Certificates: []tls.Certificate{{Certificate: [][]byte{r.client.Raw, r.ca.Raw}, PrivateKey: r.key, Leaf: r.client}},
	}
}
