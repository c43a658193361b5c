package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Server says how a listening end checks who calls. Source, TrustDomain and Check are required.
type Server struct {
	Source      Source
	TrustDomain string

	// Check sees every peer that holds a valid certificate of the trust domain, in every handshake, and refuses it by
	// an error (wrong role for this port, banned, superseded serial). It is called from many goroutines and must not block.
	Check func(Peer) error

	// AllowAnonymous lets callers without any certificate finish the handshake; they are not shown to Check. The
	// handlers must then refuse every method that needs an identity. A certificate that is shown must be good anyway.
	AllowAnonymous bool

	// NextProtos is the ALPN list, in order; h2 alone if empty.
	NextProtos []string
}

// Client says whom a dialling end expects. Source and TrustDomain are required; one of the source's roots and Pin must be set.
type Client struct {
	// Source gives the own certificate, if any (nil: anonymous), and the roots.
	Source      Source
	TrustDomain string

	// Pin (see Pin) stands in for roots that are not known yet, before joining: the server's chain must bring the pinned
	// root along. It is looked at only while the source has no roots.
	Pin string

	// NextProtos is the ALPN list, in order; h2 alone if empty.
	NextProtos []string
}

// ServerTLS is the configuration of a listening end. It may be shared and reads the source anew in each handshake.
func ServerTLS(s Server) *tls.Config {
	cfg := base(s.NextProtos)
	// The chain is verified below, with today's roots; a pool in the configuration would be that of the start for ever.
	cfg.ClientAuth = tls.RequireAnyClientCert
	if s.AllowAnonymous {
		cfg.ClientAuth = tls.RequestClientCert
	}
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := s.Source.Certificate(); cert != nil {
			return cert, nil
		}

		return nil, errors.New("no certificate to show")
	}
	cfg.VerifyConnection = s.verify

	return cfg
}

func (s Server) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 && s.AllowAnonymous {
		return nil
	}
	peer, err := verify(state.PeerCertificates, s.Source.Roots(), x509.ExtKeyUsageClientAuth, time.Now())
	if err != nil {
		return fmt.Errorf("checking client: %w", err)
	}
	if peer.ID.TrustDomain() != s.TrustDomain {
		return fmt.Errorf("%w: client %s is not of trust domain %s", ErrUntrusted, peer.ID, s.TrustDomain)
	}
	if err := s.Check(peer); err != nil {
		return fmt.Errorf("refusing client %s: %w", peer.ID, err)
	}

	return nil
}

// ClientTLS is the configuration of an end that dials the hub. The server is known by its SPIFFE ID, which must be
// exactly the hub's of the trust domain; the host name it was reached by does not matter.
func ClientTLS(c Client) *tls.Config {
	cfg := base(c.NextProtos)
	cfg.InsecureSkipVerify = true // VerifyConnection verifies, by SPIFFE ID instead of host name
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert := c.Source.Certificate(); cert != nil {
			return cert, nil
		}

		return new(tls.Certificate), nil
	}
	cfg.VerifyConnection = c.verify

	return cfg
}

func (c Client) verify(state tls.ConnectionState) error {
	roots := c.Source.Roots()
	if roots == nil && c.Pin != "" {
		root, err := VerifyPin(c.Pin, state.PeerCertificates)
		if err != nil {
			return fmt.Errorf("checking server: %w", err)
		}
		roots = x509.NewCertPool()
		roots.AddCert(root)
	}
	peer, err := verify(state.PeerCertificates, roots, x509.ExtKeyUsageServerAuth, time.Now())
	if err != nil {
		return fmt.Errorf("checking server: %w", err)
	}
	if peer.ID.Role() != RoleHub || peer.ID.TrustDomain() != c.TrustDomain {
		return fmt.Errorf("%w: server is %s, want the hub of %s", ErrUntrusted, peer.ID, c.TrustDomain)
	}

	return nil
}

// base holds what both ends agree on. Key exchange is X25519 (P-256 for clients without it) and not Go's post-quantum
// default, which costs a fifth of the handshakes per second: no recorded handshake protects anything that outlives the
// certificate, and the rows carry no secrets.
func base(protos []string) *tls.Config {
	if len(protos) == 0 {
		protos = []string{"h2"}
	}

	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256},
		SessionTicketsDisabled: true,
		NextProtos:             protos,
	}
}
