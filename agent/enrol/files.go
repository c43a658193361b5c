package enrol

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

const (
	keyFile       = "agent.key"     // for the next request to join; after that, of the SVID too
	enrolmentFile = "enrolment.key" // never of a certificate, never changed
	svidFile      = "svid.json"
)

// Keeper keeps the keys and the SVID between two lives of the agent.
type Keeper interface {
	// Load returns what is kept under a name, or an error that is fs.ErrNotExist.
	Load(name string) ([]byte, error)
	// Replace keeps data under a name, whole and durably.
	Replace(name string, data []byte) error
	// String says where it keeps things, for people.
	String() string
}

// Token is where the join token comes from.
type Token interface {
	// Read returns the token, "" if there is none.
	Read() (string, error)
	// Discard destroys a token that was used. One that is not there is no error.
	Discard() error
	// String says where it is, for people.
	String() string
}

// directory is a Keeper on a host.
type directory string

// openDirectory makes the directory if it is missing.
func openDirectory(dir string) (directory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the identity directory: %w", err)
	}

	return directory(dir), nil
}

// Load implements Keeper.
func (d directory) Load(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), name))
}

// Replace implements Keeper.
func (d directory) Replace(name string, data []byte) error {
	return replace(filepath.Join(string(d), name), data)
}

// String implements Keeper.
func (d directory) String() string { return string(d) }

// tokenFile is a Token in a file.
type tokenFile string

// Read implements Token.
func (f tokenFile) Read() (string, error) { return readToken(string(f)) }

// Discard implements Token.
func (f tokenFile) Discard() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// String implements Token.
func (f tokenFile) String() string { return string(f) }

// svid is one certificate of this agent with all that belongs to it. Never changed once made.
type svid struct {
	cluster string
	id      identity.ID
	key     *ecdsa.PrivateKey
	chain   []*x509.Certificate
	bundle  []*x509.Certificate
	renewAt time.Time
}

func (s *svid) notAfter() time.Time { return s.chain[0].NotAfter }

// record is the form on disk: one file, so that it is replaced as a whole.
type record struct {
	Cluster string    `json:"cluster"`
	ID      string    `json:"id"`
	RenewAt time.Time `json:"renewAt"`
	Key     string    `json:"key,omitempty"` // PEM; missing in what agents wrote before keys changed: keyFile
	Chain   string    `json:"chain"`         // PEM
	Bundle  string    `json:"bundle"`        // PEM
}

func (s *svid) save(to Keeper) error {
	key, err := identity.EncodeKey(s.key)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(record{
		Cluster: s.cluster, ID: s.id.String(), RenewAt: s.renewAt.Round(0), Key: string(key),
		Chain:  string(identity.EncodeCertificates(s.chain...)),
		Bundle: string(identity.EncodeCertificates(s.bundle...)),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the SVID: %w", err)
	}

	return to.Replace(svidFile, text)
}

// loadSVID reads what save wrote. older is the key of one that was written without its key.
func loadSVID(from Keeper, older *ecdsa.PrivateKey) (*svid, error) {
	name := from.String()
	text, err := from.Load(svidFile)
	if err != nil {
		return nil, fmt.Errorf("reading the SVID: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading the SVID in %s: %w", name, err)
	}
	s := &svid{cluster: r.Cluster, renewAt: r.RenewAt, key: older}
	if r.Key != "" {
		if s.key, err = identity.DecodeKey([]byte(r.Key)); err != nil {
			return nil, fmt.Errorf("reading the key of the SVID in %s: %w", name, err)
		}
	}
	if s.chain, err = identity.DecodeCertificates([]byte(r.Chain)); err != nil {
		return nil, fmt.Errorf("reading the SVID in %s: %w", name, err)
	}
	if s.bundle, err = identity.DecodeCertificates([]byte(r.Bundle)); err != nil {
		return nil, fmt.Errorf("reading the roots in %s: %w", name, err)
	}
	if s.id, err = identity.IDOf(s.chain[0]); err != nil {
		return nil, fmt.Errorf("reading the SVID in %s: %w", name, err)
	}

	return s, nil
}

func loadOrMakeKey(in Keeper, name string) (*ecdsa.PrivateKey, error) {
	text, err := in.Load(name)
	if err == nil {
		key, err := identity.DecodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s in %s: %w", name, in, err)
		}

		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}

	return key, keepKey(in, name, key)
}

func keepKey(in Keeper, name string, key *ecdsa.PrivateKey) error {
	text, err := identity.EncodeKey(key)
	if err != nil {
		return err
	}

	return in.Replace(name, text)
}

// readToken is the join token in a file, "" if there is no file or nothing in it.
func readToken(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the join token: %w", err)
	}

	return strings.TrimSpace(string(text)), nil
}

func readBundle(name string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading trusted roots: %w", err)
	}
	roots, err := identity.DecodeCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("reading trusted roots in %s: %w", name, err)
	}

	return roots, nil
}

// replace puts a file in place whole and durably, readable by its owner alone.
func replace(name string, data []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}

	return nil
}

// Joined returns the cluster that an agent with these keys has joined as, "" if it has not.
func Joined(keeper Keeper) (string, error) {
	text, err := keeper.Load(svidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the SVID: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return "", fmt.Errorf("reading the SVID in %s: %w", keeper, err)
	}

	return r.Cluster, nil
}
