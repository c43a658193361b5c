package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// A hub's directory:
//
//	ca/root.pem, ca/root.key   the authority
//	mac.key                    proves at a hub that a row was once its own; never in a backup of the store
//	store/                     the database
//	hub.yaml                   the configuration that init wrote
//	admin/NAME/                an admin's certificate, key, roots and context: to be moved to that admin's machine
const (
	caDir    = "ca"
	macFile  = "mac.key"
	storeDir = "store"
	adminDir = "admin"

	// ConfigFile is the name of the configuration that Init writes into the directory.
	ConfigFile = "hub.yaml"

	macBytes = 32

	// Of an admin:
	rootsFile   = "ca.pem"
	certFile    = "cert.pem"
	keyFile     = "key.pem"
	contextFile = "config.yaml"
)

// IssueAdmin writes the files of a further admin into the directory of a hub. The hub may run meanwhile: it knows its
// admins by their certificates alone.
func IssueAdmin(cfg Config, name string) (string, error) {
	authority, err := openAuthority(cfg)
	if err != nil {
		return "", err
	}

	return writeAdmin(cfg, authority, name)
}

func openAuthority(cfg Config) (*ca.Authority, error) {
	authority, err := ca.Open(filepath.Join(cfg.Dir, caDir))
	if errors.Is(err, fs.ErrNotExist) && missing(filepath.Join(cfg.Dir, storeDir)) {
		return nil, fmt.Errorf("%s holds no hub: make one with waterwheel-hub init --dir %[1]s (%w)", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: restore %s from a backup of this hub", err, filepath.Join(cfg.Dir, caDir))
	}
	if cfg.TrustDomain != "" && cfg.TrustDomain != authority.TrustDomain() {
		return nil, fmt.Errorf("trustDomain: %s was made for %s, not for %s", cfg.Dir, authority.TrustDomain(), cfg.TrustDomain)
	}

	return authority, nil
}

func missing(name string) bool {
	_, err := os.Stat(name)

	return errors.Is(err, fs.ErrNotExist)
}

// openMAC is the func that proves rows.
func openMAC(dir string) (func(store.FeedRow) []byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, macFile))
	if err != nil {
		return nil, fmt.Errorf("reading the key that proves rows: %w: restore it from a backup of this hub", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != macBytes {
		return nil, fmt.Errorf("reading the key that proves rows: %s does not hold %d hex digits: restore it from a backup of this hub", macFile, 2*macBytes)
	}

	return func(r store.FeedRow) []byte { return rowMAC(key, r) }, nil
}

// rowMAC is HMAC-SHA256 over every field of a row but itself, each with its length, so that no two rows read alike.
func rowMAC(key []byte, r store.FeedRow) []byte {
	h := hmac.New(sha256.New, key)
	for _, s := range []string{
		r.ClusterUID, r.UID, string(r.Policy), string(r.Hash), string(r.Body),
		fmt.Sprint(r.Version.EpochNumber, r.Version.Revision, r.Generation, r.Term, r.Deleted, r.Schema),
	} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}

	return h.Sum(nil)
}

// writeAdmin issues an admin's certificate and writes all that a client needs to use it.
func writeAdmin(cfg Config, authority *ca.Authority, name string) (string, error) {
	cert, err := authority.Admin(name, ca.AdminLife)
	if err != nil {
		return "", err
	}
	key, err := identity.EncodeKey(cert.PrivateKey)
	if err != nil {
		return "", err
	}
	context, err := contexts(Context{Name: defaultContext, Hub: cfg.AdminAddr(), CAFile: rootsFile, CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cfg.Dir, adminDir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the admin's directory: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{keyFile, key},
		{certFile, identity.EncodeCertificates(cert.Leaf)},
		{rootsFile, identity.EncodeCertificates(authority.Roots()...)},
		{contextFile, context},
	} {
		if err := writeNew(filepath.Join(dir, f.name), f.data); err != nil {
			return "", err
		}
	}

	return dir, nil
}

// writeNew writes a file that must not exist, readable by its owner alone, durably.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: move it away first", name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}

	return nil
}
