package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// MasterSize is how many random bytes a master secret has at least.
const MasterSize = 32

// iterations of the derivation of a store's keys from its password. Many of them
// make a password costly to guess; this one has 144 random bits, and stands in
// the same Secret as the stores.
const iterations = 1

// Stores are the files of a run's Secret.
type Stores struct {
	KeyStore   []byte // key and certificate of the run's REST server, PKCS #12
	TrustStore []byte // the run's authority: who may call, PKCS #12
	Client     []byte // a client's key and certificate, for people with a right to read the Secret, PKCS #12
	CA         []byte // the authority's certificate, PEM
	Password   string // of all three stores
}

// The life of certificates: a run may last for years and is never given new
// ones, and a clock that is wrong must not end it.
var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC)
)

// Run is the keys of one run.
type Run struct {
	name     string
	password string
	ca       *x509.Certificate
	caKey    *ecdsa.PrivateKey
	client   *x509.Certificate
	key      *ecdsa.PrivateKey // of client
	master   []byte
}

// Derive makes the keys of the run with a name: always the same of the same master.
func Derive(master []byte, run string) (*Run, error) {
	if len(master) < MasterSize {
		return nil, fmt.Errorf("derive keys of run %s: the master secret has %d bytes, wanted %d", run, len(master), MasterSize)
	}
	r := &Run{name: run, master: master}
	secret, err := r.bytes("password", 18)
	if err != nil {
		return nil, err
	}
	r.password = hex.EncodeToString(secret)
	if r.caKey, err = r.deriveKey("ca"); err != nil {
		return nil, err
	}
	ca := r.template("ca", run)
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero = true, true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	if r.ca, err = sign(ca, ca, r.caKey, r.caKey); err != nil {
		return nil, err
	}
	if r.key, err = r.deriveKey("client"); err != nil {
		return nil, err
	}
	client := r.template("client", run+"-client")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if r.client, err = sign(client, r.ca, r.key, r.caKey); err != nil {
		return nil, err
	}
	return r, nil
}

// Stores is what the run's REST server is started with, which answers under the
// given host names.
func (r *Run) Stores(hosts ...string) (Stores, error) {
	key, err := r.deriveKey("server")
	if err != nil {
		return Stores{}, err
	}
	server := r.template("server", r.name+"-rest")
	server.DNSNames = hosts
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, err := sign(server, r.ca, key, r.caKey)
	if err != nil {
		return Stores{}, err
	}
	s := Stores{Password: r.password, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.Raw})}
	authority := []*x509.Certificate{r.ca}
	stores := pkcs12.Modern.WithIterations(iterations)
	if s.KeyStore, err = stores.Encode(key, cert, authority, r.password); err != nil {
		return Stores{}, fmt.Errorf("write the key store of run %s: %w", r.name, err)
	}
	if s.TrustStore, err = stores.EncodeTrustStore(authority, r.password); err != nil {
		return Stores{}, fmt.Errorf("write the trust store of run %s: %w", r.name, err)
	}
	if s.Client, err = stores.Encode(r.key, r.client, authority, r.password); err != nil {
		return Stores{}, fmt.Errorf("write the client's key store of run %s: %w", r.name, err)
	}
	return s, nil
}

// bytes derives n bytes for one purpose of this run.
func (r *Run) bytes(purpose string, n int) ([]byte, error) {
	b, err := hkdf.Key(sha256.New, r.master, nil, "waterwheel.dev/rest\x00"+purpose+"\x00"+r.name, n)
	if err != nil {
		return nil, fmt.Errorf("derive the %s of run %s: %w", purpose, r.name, err)
	}
	return b, nil
}

// deriveKey derives a P-256 key: 48 bytes brought below the group's order, so
// that no key is noticeably likelier than another.
func (r *Run) deriveKey(purpose string) (*ecdsa.PrivateKey, error) {
	b, err := r.bytes(purpose, 48)
	if err != nil {
		return nil, err
	}
	order := new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1))
	scalar := new(big.Int).SetBytes(b)
	scalar.Mod(scalar, order).Add(scalar, big.NewInt(1))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil, fmt.Errorf("derive the %s key of run %s: %w", purpose, r.name, err)
	}
	return key, nil
}

// template is a certificate of this run. Its serial number is a hash of what it is for.
func (r *Run) template(purpose, name string) *x509.Certificate {
	sum := sha256.Sum256([]byte(purpose + "\x00" + r.name))
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:16]), Subject: pkix.Name{Organization: []string{"waterwheel.dev"}, CommonName: limited(name)},
		NotBefore: notBefore, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// limited keeps a common name within what X.509 allows.
func limited(name string) string { return name[:min(len(name), 64)] }

func sign(cert, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(nil, cert, by, key.Public(), byKey) // no randomness: the same bytes each time
	if err != nil {
		return nil, fmt.Errorf("make certificate %s: %w", cert.Subject.CommonName, err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", cert.Subject.CommonName, err)
	}
	return signed, nil
}
