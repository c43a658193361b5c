package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
	pinPrefix      = "sha256:"
)

// NewKey makes a private key, ECDSA on P-256.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}

	return key, nil
}

// NewCSR is a certificate request in DER that proves possession of the key and asks for nothing: who the certificate
// will name is for the issuer to say.
func NewCSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}

	return der, nil
}

// ParseCSR is the public key of a request in DER, whose signature it checks. Keys other than ECDSA on P-256 are refused.
func ParseCSR(der []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("reading certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("checking certificate request: %w", err)
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("checking certificate request: want an ECDSA key on P-256")
	}

	return pub, nil
}

// KeyHash is sha256: and the hash of a public key in PKIX form, in hex: the name of a key.
func KeyHash(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("hashing public key: %w", err)
	}

	return hash(der), nil
}

// Pin is sha256: and the hash of a root's DER, in hex. It is what a person carries to a new cluster.
func Pin(root *x509.Certificate) string { return hash(root.Raw) }

// VerifyPin finds the certificate among certs that the pin names.
func VerifyPin(pin string, certs []*x509.Certificate) (*x509.Certificate, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(pin, pinPrefix))
	if err != nil || !strings.HasPrefix(pin, pinPrefix) || len(raw) != sha256.Size {
		return nil, fmt.Errorf("pin %q is not %s and 64 hex digits", pin, pinPrefix)
	}
	for _, c := range certs {
		if sha256.Sum256(c.Raw) == [sha256.Size]byte(raw) {
			return c, nil
		}
	}

	return nil, fmt.Errorf("%w: none of %d certificates matches the pin %s", ErrUntrusted, len(certs), pin)
}

func hash(der []byte) string {
	sum := sha256.Sum256(der)

	return pinPrefix + hex.EncodeToString(sum[:])
}

// EncodeKey is a private key in PEM (PKCS #8).
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}

	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// DecodeKey reads what EncodeKey wrote.
func DecodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("decoding key: no %q block", pemKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decoding key: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("decoding key: it is a %T, want ECDSA", key)
	}

	return ec, nil
}

// EncodeCertificates is certificates in PEM, in order.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})...)
	}

	return out
}

// DecodeCertificates reads one or more certificates in PEM; other blocks and trailing text are refused.
func DecodeCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(strings.TrimSpace(string(text))) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != pemCertificate {
			return nil, fmt.Errorf("decoding certificates: not a %q block after %d of them", pemCertificate, len(out))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("decoding certificate %d: %w", len(out), err)
		}
		out, text = append(out, cert), rest
	}
	if len(out) == 0 {
		return nil, errors.New("decoding certificates: there are none")
	}

	return out, nil
}

// Pool is a set of roots.
func Pool(roots ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}

	return pool
}

// TLSCertificate joins a key and its chain (leaf first), which must belong together.
func TLSCertificate(key *ecdsa.PrivateKey, chain ...*x509.Certificate) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("joining key and certificate: no certificate")
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, errors.New("joining key and certificate: the certificate is for another key")
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}

	return cert, nil
}
