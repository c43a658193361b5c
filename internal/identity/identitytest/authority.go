package identitytest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Authority is a root that lives for ten years from its making.
type Authority struct {
	Root *x509.Certificate

	tb     testing.TB
	domain string
	key    *ecdsa.PrivateKey
	serial int64
}

// New makes the authority of a trust domain.
func New(tb testing.TB, trustDomain string) *Authority {
	tb.Helper()
	now := time.Now()
	a := &Authority{tb: tb, domain: trustDomain, key: must(identity.NewKey())(tb)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: trustDomain},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.Root = a.sign(tmpl, tmpl, &a.key.PublicKey)

	return a
}

// Hub is a certificate of the hub, with the root in its chain.
func (a *Authority) Hub(ttl time.Duration) *tls.Certificate {
	a.tb.Helper()

	return a.Issue(must(identity.HubID(a.domain))(a.tb), ttl)
}

// Cluster is a certificate of a cluster's agent.
func (a *Authority) Cluster(uid string, ttl time.Duration) *tls.Certificate {
	a.tb.Helper()

	return a.Issue(must(identity.ClusterID(a.domain, uid))(a.tb), ttl)
}

// Admin is a certificate of an admin.
func (a *Authority) Admin(name string, ttl time.Duration) *tls.Certificate {
	a.tb.Helper()

	return a.Issue(must(identity.AdminID(a.domain, name))(a.tb), ttl)
}

// Issue makes a certificate for any identity, valid from a minute ago until ttl from now.
func (a *Authority) Issue(id identity.ID, ttl time.Duration) *tls.Certificate {
	a.tb.Helper()
	now := time.Now()
	a.serial++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + a.serial),
		NotBefore:    now.Add(-time.Minute), NotAfter: now.Add(ttl),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	tmpl.URIs = append(tmpl.URIs, id.URL())
	key := must(identity.NewKey())(a.tb)

	return must(identity.TLSCertificate(key, a.sign(tmpl, a.Root, &key.PublicKey), a.Root))(a.tb)
}

// Source is a source with the certificate (which may be nil) and the authority's root.
func (a *Authority) Source(cert *tls.Certificate) *identity.StaticSource {
	return identity.NewStaticSource(cert, identity.Pool(a.Root))
}

func (a *Authority) sign(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
	a.tb.Helper()
	der := must(x509.CreateCertificate(rand.Reader, tmpl, parent, pub, a.key))(a.tb)

	return must(x509.ParseCertificate(der))(a.tb)
}

// must ends the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}

		return v
	}
}
