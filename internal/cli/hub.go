package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
)

// How long a hub may take.
const (
	dialLimit   = 3 * time.Second
	answerLimit = 15 * time.Second
)

// maxAnswer bounds one answer in bytes: a page of the largest jobs.
const maxAnswer = 256 << 20

// hub is the API of one hub as one context calls it.
type hub struct {
	jobs     adminv1connect.JobServiceClient
	clusters adminv1connect.ClusterServiceClient
	admins   adminv1connect.AdminServiceClient
	name     string // of the context
	server   string
	tenant   string
	knock    func(context.Context) error // connects, says nothing, and tells why that failed
}

// dial prepares to call the hub of a context. Nothing is connected before the first call.
func dial(cfg *Config, c Context, now time.Time) (*hub, error) {
	if _, _, err := net.SplitHostPort(c.Hub); err != nil {
		return nil, usagef("context %q: hub %q must be host:port", c.Name, c.Hub)
	}
	source, err := c.source(cfg)
	if err != nil {
		return nil, err
	}
	leaf := source.Certificate().Leaf
	me, err := identity.IDOf(leaf)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", c.Name, err)
	}
	if now.After(leaf.NotAfter) {
		return nil, exitf(ExitError, "the certificate of context %q ended %s: get a new one from whoever runs the hub (waterwheel-hub admin)",
			c.Name, leaf.NotAfter.Format(time.RFC3339))
	}
	config := identity.ClientTLS(identity.Client{Source: source, TrustDomain: me.TrustDomain(), NextProtos: []string{"h2", "http/1.1"}})
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialLimit}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialLimit,
		ResponseHeaderTimeout: answerLimit,
		ForceAttemptHTTP2:     true,
		Proxy:                 http.ProxyFromEnvironment,
	}
	client := connect.NewClient(connecthttp.NewTransport(
		&http.Client{Transport: transport, Timeout: answerLimit}, "https://"+c.Hub, connecthttp.WithReadMaxBytes(maxAnswer)))
	h := newHub(client)
	h.name, h.server, h.tenant = c.Name, c.Hub, orDefault(c.Tenant)
	h.knock = func(ctx context.Context) error { return knock(ctx, c.Hub, config) }
	return h, nil
}

// knock connects and waits for the first byte, which a server of HTTP/2 sends unasked.
func knock(ctx context.Context, address string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func newHub(client *connect.Client) *hub {
	return &hub{
		jobs:     adminv1connect.NewJobServiceClient(client),
		clusters: adminv1connect.NewClusterServiceClient(client),
		admins:   adminv1connect.NewAdminServiceClient(client),
		tenant:   flink.DefaultTenant,
	}
}

// source reads the files of a context, or what stands in their place.
func (c Context) source(cfg *Config) (identity.Source, error) {
	if !c.complete() {
		return nil, usagef("context %q: certFile, keyFile and caFile, or certData, keyData and caData, must be set (waterwheel config set-context)", c.Name)
	}
	certPEM, err := cfg.text(c.CertFile, c.CertData)
	if err != nil {
		return nil, fmt.Errorf("context %q: reading the certificate: %w", c.Name, err)
	}
	keyPEM, err := cfg.text(c.KeyFile, c.KeyData)
	if err != nil {
		return nil, fmt.Errorf("context %q: reading the key: %w", c.Name, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("context %q: reading the certificate: %w", c.Name, err)
	}
	if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
		return nil, fmt.Errorf("context %q: reading the certificate: %w", c.Name, err)
	}
	pem, err := cfg.text(c.CAFile, c.CAData)
	if err != nil {
		return nil, fmt.Errorf("context %q: reading the hub's roots: %w", c.Name, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("context %q: reading the hub's roots: %w", c.Name, errors.New("no certificate in PEM form"))
	}
	return identity.NewStaticSource(&cert, roots), nil
}
