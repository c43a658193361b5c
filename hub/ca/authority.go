package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

const (
	// RootLife is how long a root is valid.
	RootLife = 10 * 365 * 24 * time.Hour
	// Skew is how long before its making a certificate begins.
	Skew = 5 * time.Minute

	rootFile = "root.pem"
	keyFile  = "root.key"

	serialBits = 127
)

// Authority signs the SVIDs of one trust domain. It never changes once made and is safe for concurrent use.
type Authority struct {
	domain string
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Create makes the root of a trust domain and writes it to dir, which must not hold one yet.
func Create(dir, trustDomain string) (*Authority, error) {
	if _, err := identity.HubID(trustDomain); err != nil {
		return nil, fmt.Errorf("making the root of trust domain %q: %w", trustDomain, err)
	}
	if _, err := os.Stat(filepath.Join(dir, keyFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making a root in %s: %w", dir, fs.ErrExist)
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	root, err := selfSign(trustDomain, key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := identity.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the authority's directory: %w", err)
	}
	// The certificate first: a key without a root would be refused by Open and by the next Create.
	if err := writeNew(filepath.Join(dir, rootFile), identity.EncodeCertificates(root), 0o644); err != nil {
		return nil, err
	}
	if err := writeNew(filepath.Join(dir, keyFile), keyPEM, 0o600); err != nil {
		return nil, err
	}

	return &Authority{domain: trustDomain, root: root, key: key}, nil
}

// Open reads what Create wrote. The trust domain is the one of the root.
func Open(dir string) (*Authority, error) {
	keyPEM, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	key, err := identity.DecodeKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key in %s: %w", dir, err)
	}
	rootPEM, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's root: %w", err)
	}
	roots, err := identity.DecodeCertificates(rootPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's root in %s: %w", dir, err)
	}
	root := roots[0]
	if !key.PublicKey.Equal(root.PublicKey) {
		return nil, fmt.Errorf("reading the authority in %s: %s does not belong to %s", dir, keyFile, rootFile)
	}
	if len(root.URIs) != 1 {
		return nil, fmt.Errorf("reading the authority in %s: root names %d trust domains, want 1", dir, len(root.URIs))
	}

	return &Authority{domain: root.URIs[0].Host, root: root, key: key}, nil
}

// TrustDomain is the domain whose identities it signs.
func (a *Authority) TrustDomain() string { return a.domain }

// Roots is what a peer must trust: today the one root, during a change of roots the old and the new.
func (a *Authority) Roots() []*x509.Certificate { return []*x509.Certificate{a.root} }

// Pin names the root for a person to carry to a new cluster.
func (a *Authority) Pin() string { return identity.Pin(a.root) }

// Issue signs an SVID for id over pub, valid for life from now. names are the DNS names and addresses that a hub's
// certificate also stands for. The chain is leaf first and does not hold the root.
func (a *Authority) Issue(id identity.ID, pub *ecdsa.PublicKey, life time.Duration, names ...string) ([]*x509.Certificate, error) {
	if id.TrustDomain() != a.domain {
		return nil, fmt.Errorf("signing %s: not of trust domain %s", id, a.domain)
	}
	now := time.Now()
	if !now.Before(a.root.NotAfter) {
		return nil, fmt.Errorf("signing %s: the root ended on %s", id, a.root.NotAfter.Format(time.DateOnly))
	}
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName(id)},
		NotBefore:   now.Add(-Skew),
		NotAfter:    now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{usage(id.Role())},
		URIs:        []*url.URL{id.URL()},

		BasicConstraintsValid: true,
	}
	if a.root.NotAfter.Before(tmpl.NotAfter) {
		tmpl.NotAfter = a.root.NotAfter
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	leaf, err := sign(tmpl, a.root, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", id, err)
	}

	return []*x509.Certificate{leaf}, nil
}

// usage keeps a stolen agent's certificate from posing as a server.
func usage(role identity.Role) x509.ExtKeyUsage {
	if role == identity.RoleHub {
		return x509.ExtKeyUsageServerAuth
	}

	return x509.ExtKeyUsageClientAuth
}

func commonName(id identity.ID) string {
	if id.Name() == "" {
		return "waterwheel " + string(id.Role())
	}

	// A common name holds 64 characters; it is for people, the URI is the identity.
	name := "waterwheel " + string(id.Role()) + " " + id.Name()

	return name[:min(len(name), 64)]
}

func selfSign(trustDomain string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	now := time.Now()
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "waterwheel root"},
		NotBefore:             now.Add(-Skew),
		NotAfter:              now.Add(RootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1, // room for one intermediate
	}
	root, err := sign(tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a root: %w", err)
	}

	return root, nil
}

func sign(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	tmpl.SerialNumber = serial.Add(serial, big.NewInt(1)) // zero is no serial number
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}

	return x509.ParseCertificate(der)
}

// writeNew writes a file that must not exist, durably.
func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}

	return nil
}
