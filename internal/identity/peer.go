package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrAnonymous is returned for a connection whose other end showed no certificate.
var ErrAnonymous = errors.New("no client certificate")

// ErrUntrusted is wrapped by every refusal of a peer's certificate.
var ErrUntrusted = errors.New("certificate not trusted")

// Peer is the other end of a connection, as its certificate has it.
type Peer struct {
	ID       ID
	Serial   string    // of the certificate, lower case hex without leading zeros
	NotAfter time.Time // when the certificate, and with it every stream under it, ends
}

// PeerOf reads the peer of an established connection made with ServerTLS or ClientTLS: it trusts that the handshake
// verified the certificate. ErrAnonymous if there is none.
func PeerOf(state *tls.ConnectionState) (Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return Peer{}, ErrAnonymous
	}

	return PeerOfCertificate(state.PeerCertificates[0])
}

// PeerOfCertificate reads a certificate as a peer would see it. It verifies nothing but the form of its ID.
func PeerOfCertificate(cert *x509.Certificate) (Peer, error) {
	id, err := IDOf(cert)
	if err != nil {
		return Peer{}, err
	}

	return Peer{ID: id, Serial: SerialOf(cert), NotAfter: cert.NotAfter}, nil
}

// SerialOf is a certificate's serial number as written everywhere in Waterwheel: lower case hex.
func SerialOf(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// verify checks a presented chain (leaf first) against the roots, at now, for the given usage.
func verify(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, ErrAnonymous
	}
	if roots == nil {
		// Verify would fall back to the roots of the operating system.
		return Peer{}, fmt.Errorf("%w: no roots to check it against", ErrUntrusted)
	}
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	peer, err := PeerOfCertificate(leaf)
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}

	return peer, nil
}
