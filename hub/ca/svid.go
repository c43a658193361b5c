package ca

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// HubLife is how long a certificate of the hub itself is valid. It is never written to disk.
const HubLife = 24 * time.Hour

// HubSource is the hub's own SVID, a new one at half its life, made when it is next asked for. Safe for concurrent use.
type HubSource struct {
	authority *Authority
	names     []string
	log       *slog.Logger
	roots     *x509.CertPool

	mu    sync.Mutex // guards what follows
	cert  *tls.Certificate
	renew time.Time
}

// HubSource makes the hub's first SVID, which also stands for the given DNS names and addresses.
func (a *Authority) HubSource(names []string, log *slog.Logger) (*HubSource, error) {
	s := &HubSource{authority: a, names: names, log: log, roots: identity.Pool(a.Roots()...)}
	if err := s.make(time.Now()); err != nil {
		return nil, err
	}

	return s, nil
}

// Certificate implements identity.Source. The chain brings the root along, for agents that know no more than its pin.
func (s *HubSource) Certificate() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); !now.Before(s.renew) {
		if err := s.make(now); err != nil {
			s.log.Error("renewing the hub's certificate failed", telemetry.Err(err))
			s.renew = now.Add(time.Minute)
		}
	}

	return s.cert
}

// Roots implements identity.Source.
func (s *HubSource) Roots() *x509.CertPool { return s.roots }

func (s *HubSource) make(now time.Time) error {
	id, err := identity.HubID(s.authority.domain)
	if err != nil {
		return err
	}
	cert, err := s.authority.keyPair(id, HubLife, s.names...)
	if err != nil {
		return err
	}
	s.cert, s.renew = cert, now.Add(HubLife/2)

	return nil
}

// Admin signs an SVID for a person or a machine that calls the admin API, over a new key.
func (a *Authority) Admin(name string, life time.Duration) (*tls.Certificate, error) {
	id, err := identity.AdminID(a.domain, name)
	if err != nil {
		return nil, err
	}

	return a.keyPair(id, life)
}

// keyPair makes a key and a certificate for it, with the root at the chain's end.
func (a *Authority) keyPair(id identity.ID, life time.Duration, names ...string) (*tls.Certificate, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	chain, err := a.Issue(id, &key.PublicKey, life, names...)
	if err != nil {
		return nil, err
	}

	return identity.TLSCertificate(key, append(chain, a.root)...)
}
