package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
)

// ProofKey is under which metadata of a call the signature of a Claim is sent.
const ProofKey = "waterwheel-proof-bin"

// exporter names the keying material that binds a claim to its connection (RFC 8446 §7.5, RFC 5705).
const (
	exporter    = "EXPORTER-waterwheel-enrolment"
	exportBytes = 32
)

// ErrClaim is wrapped by every refusal of a claim.
var ErrClaim = errors.New("claim is not proven")

// Purpose is what a claim is made for. A signature for one is none for the other.
type Purpose string

// The purposes of claims.
const (
	ToEnrol    Purpose = "waterwheel enrol v1"
	ToReattest Purpose = "waterwheel reattest v1"
)

// Claim is what an agent signs by its enrolment key. The signature is good on one TLS connection alone: the material
// exported from it depends on both ends' fresh randomness and on the certificate that the hub showed. So nothing has to
// be remembered against replay, no clock has to be right, and whoever sits between two connections has nothing to pass on.
type Claim struct {
	Purpose Purpose
	Hub     ID
	Subject string // of ToEnrol the join token, of ToReattest the cluster's SPIFFE ID
	Site    string // of ToReattest where the agent's records are
	CSR     []byte // DER
}

// Sign makes the signature for an established connection.
func (c Claim) Sign(conn *tls.ConnectionState, key crypto.Signer) ([]byte, error) {
	digest, err := c.digest(conn)
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing a claim: %w", err)
	}

	return signature, nil
}

// Verify refuses a signature that was not made by the key, of this claim, for this connection.
func (c Claim) Verify(conn *tls.ConnectionState, key *ecdsa.PublicKey, signature []byte) error {
	digest, err := c.digest(conn)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(key, digest, signature) {
		return ErrClaim
	}

	return nil
}

func (c Claim) digest(conn *tls.ConnectionState) ([]byte, error) {
	if conn.Version < tls.VersionTLS13 || !conn.HandshakeComplete {
		return nil, fmt.Errorf("%w: it needs an established connection of TLS 1.3", ErrClaim)
	}
	binding, err := conn.ExportKeyingMaterial(exporter, nil, exportBytes)
	if err != nil {
		return nil, fmt.Errorf("binding a claim to its connection: %w", err)
	}
	h := sha256.New()
	for _, part := range [][]byte{
		[]byte(c.Purpose), binding, []byte(c.Hub.String()), []byte(c.Subject), []byte(c.Site), c.CSR,
	} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write(part)
	}

	return h.Sum(nil), nil
}

// EncodePublicKey is a public key in PKIX form, DER.
func EncodePublicKey(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}

	return der, nil
}

// ParsePublicKey reads what EncodePublicKey wrote. Keys other than ECDSA on P-256 are refused.
func ParsePublicKey(der []byte) (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("reading public key: want an ECDSA key on P-256")
	}

	return pub, nil
}
