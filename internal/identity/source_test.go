package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
)

func TestFileSourceFollowsItsFilesAndKeepsTheLastWhole(t *testing.T) {
	ca := identitytest.New(t, domain)
	files := write(t, t.TempDir(), ca, ca.Cluster("abc", time.Hour))
	src, err := identity.NewFileSource(files)
	if err != nil {
		t.Fatal(err)
	}
	first := src.Certificate()
	if first == nil || src.Certificate() != first || !src.Roots().Equal(identity.Pool(ca.Root)) {
		t.Fatalf("got %v, want one certificate and the root", first)
	}

	second := ca.Cluster("abc", 2*time.Hour)
	replace(t, files.Cert, chainPEM(t, second)) // the key comes later
	if src.Certificate() != first || src.Err() == nil {
		t.Errorf("half a rotation: err %v; want the last whole and an error", src.Err())
	}
	replace(t, files.Key, keyPEM(t, second))
	if got := src.Certificate(); src.Err() != nil || !bytes.Equal(got.Certificate[0], second.Certificate[0]) {
		t.Errorf("after the rotation: err %v; want the new certificate", src.Err())
	}
	if err := os.Remove(files.Bundle); err != nil {
		t.Fatal(err)
	}
	if src.Roots() == nil || src.Err() == nil {
		t.Errorf("with the bundle gone: roots %v, err %v; want the last roots and an error", src.Roots(), src.Err())
	}
}

func TestFileSourceRefusesToStartWithoutAWhole(t *testing.T) {
	ca := identitytest.New(t, domain)
	good := write(t, t.TempDir(), ca, ca.Cluster("abc", time.Hour))
	foreign := write(t, t.TempDir(), ca, ca.Cluster("abc", time.Hour))
	for name, files := range map[string]identity.Files{
		"no bundle":       {Cert: good.Cert, Key: good.Key, Bundle: good.Bundle + ".absent"},
		"bundle is a key": {Cert: good.Cert, Key: good.Key, Bundle: good.Key},
		"foreign key":     {Cert: good.Cert, Key: foreign.Key, Bundle: good.Bundle},
		"no key":          {Cert: good.Cert, Bundle: good.Bundle},
	} {
		if _, err := identity.NewFileSource(files); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	src, err := identity.NewFileSource(identity.Files{Bundle: good.Bundle})
	if err != nil || src.Certificate() != nil || src.Roots() == nil {
		t.Errorf("anonymous: %v", err)
	}
}

func TestKeysRequestsAndPinsRoundTrip(t *testing.T) {
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := identity.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := identity.DecodeKey(text); err != nil || !back.Equal(key) {
		t.Errorf("key: %v", err)
	}
	csr, err := identity.NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := identity.ParseCSR(csr); err != nil || !pub.Equal(&key.PublicKey) {
		t.Errorf("request: %v", err)
	}
	csr[len(csr)-1] ^= 1
	if _, err := identity.ParseCSR(csr); err == nil {
		t.Error("a request with a broken signature was accepted")
	}
	ca := identitytest.New(t, domain)
	certs, err := identity.DecodeCertificates(identity.EncodeCertificates(ca.Root, ca.Root))
	if err != nil || len(certs) != 2 || !certs[1].Equal(ca.Root) {
		t.Errorf("certificates: %d, %v", len(certs), err)
	}
	if root, err := identity.VerifyPin(identity.Pin(ca.Root), certs); err != nil || !root.Equal(ca.Root) {
		t.Errorf("pin: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "key": string(text), "tail": string(identity.EncodeCertificates(ca.Root)) + "x"} {
		if _, err := identity.DecodeCertificates([]byte(text)); err == nil {
			t.Errorf("certificates from %s: accepted", name)
		}
	}
	if a, _ := identity.KeyHash(&key.PublicKey); !strings.HasPrefix(a, "sha256:") || len(a) != 7+64 {
		t.Errorf("key hash %q", a)
	}
}

func write(t *testing.T, dir string, ca *identitytest.Authority, cert *tls.Certificate) identity.Files {
	t.Helper()
	f := identity.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Bundle: filepath.Join(dir, "bundle.pem")}
	replace(t, f.Cert, chainPEM(t, cert))
	replace(t, f.Key, keyPEM(t, cert))
	replace(t, f.Bundle, identity.EncodeCertificates(ca.Root))

	return f
}

// replace renames a new file into place, as a rotation does.
func replace(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func chainPEM(t *testing.T, cert *tls.Certificate) []byte {
	t.Helper()

	return identity.EncodeCertificates(cert.Leaf)
}

func keyPEM(t *testing.T, cert *tls.Certificate) []byte {
	t.Helper()
	key, ok := cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("key is a %T", cert.PrivateKey)
	}
	text, err := identity.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}

	return text
}
