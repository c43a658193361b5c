package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys are the certificates of one server, in files below dir.
type keys struct {
	dir        string
	ca         []byte // PEM
	admin, key []byte // PEM
}

func (k keys) path(name string) string { return filepath.Join(k.dir, name) }

// newKeys makes a CA, the server's certificate, an administrator's, and a key for service account tokens.
func newKeys(dir string) (keys, error) {
	k := keys{dir: dir}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, fmt.Errorf("make a key: %w", err)
	}
	ca := template("waterwheel test CA", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return k, fmt.Errorf("make the CA: %w", err)
	}
	k.ca = block("CERTIFICATE", der)
	server := template("kube-apiserver", 2)
	server.IPAddresses, server.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost", "kubernetes.default.svc"}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	admin := template("waterwheel-test", 3)
	admin.Subject.Organization = []string{"system:masters"}
	admin.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	files := map[string][]byte{"ca.crt": k.ca}
	for name, t := range map[string]*x509.Certificate{"server": server, "admin": admin, "sa": template("tokens", 4)} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return k, fmt.Errorf("make a key: %w", err)
		}
		der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
		if err != nil {
			return k, fmt.Errorf("make the certificate of %s: %w", name, err)
		}
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return k, fmt.Errorf("write the key of %s: %w", name, err)
		}
		files[name+".crt"], files[name+".key"] = block("CERTIFICATE", der), block("EC PRIVATE KEY", keyDER)
	}
	k.admin, k.key = files["admin.crt"], files["admin.key"]
	for name, text := range files {
		if err := os.WriteFile(k.path(name), text, 0o600); err != nil {
			return k, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return k, nil
}

func template(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// kubeconfig is an administrator's, whole in one file.
func (k keys) kubeconfig(url string) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: admin, user: {client-certificate-data: %s, client-key-data: %s}}]
`, url, b64(k.ca), b64(k.admin), b64(k.key))
}
