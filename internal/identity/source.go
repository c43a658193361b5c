package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// Source is the certificate of this end and the roots it trusts, both of this moment. Implementations are safe for
// concurrent use; the values they return are never changed afterwards.
type Source interface {
	// Certificate is the own certificate with its chain and key; nil if there is none.
	Certificate() *tls.Certificate
	// Roots is what the other end's chain must lead to; nil trusts nobody.
	Roots() *x509.CertPool
}

// StaticSource is a Source in memory. The zero value has neither certificate nor roots.
type StaticSource struct {
	state atomic.Pointer[material]
}

type material struct {
	cert  *tls.Certificate
	roots *x509.CertPool
}

// NewStaticSource is a source that holds cert and roots until the next Set.
func NewStaticSource(cert *tls.Certificate, roots *x509.CertPool) *StaticSource {
	s := new(StaticSource)
	s.Set(cert, roots)

	return s
}

// Set replaces both at once; handshakes begun later see the new ones.
func (s *StaticSource) Set(cert *tls.Certificate, roots *x509.CertPool) {
	s.state.Store(&material{cert: cert, roots: roots})
}

// Certificate implements Source.
func (s *StaticSource) Certificate() *tls.Certificate {
	if m := s.state.Load(); m != nil {
		return m.cert
	}

	return nil
}

// Roots implements Source.
func (s *StaticSource) Roots() *x509.CertPool {
	if m := s.state.Load(); m != nil {
		return m.roots
	}

	return nil
}

// Files names the PEM files of a FileSource. Cert and Key may both be "": then it is anonymous.
type Files struct {
	Cert   string // leaf first, then its chain
	Key    string
	Bundle string // the trusted roots
}

// FileSource is a Source in files, which are looked at (stat) at each use and read again when one has changed. While
// the files do not make a whole, as between the two renames of a rotation, the last good material stands.
type FileSource struct {
	files Files

	mu    sync.Mutex
	stats [3]os.FileInfo
	good  material
	err   error
}

// NewFileSource reads the files once and fails if they do not make a whole.
func NewFileSource(files Files) (*FileSource, error) {
	s := &FileSource{files: files}
	s.current()

	return s, s.err
}

// Certificate implements Source.
func (s *FileSource) Certificate() *tls.Certificate { return s.current().cert }

// Roots implements Source.
func (s *FileSource) Roots() *x509.CertPool { return s.current().roots }

// Err is why the files as they stand now are not in use; nil if they are.
func (s *FileSource) Err() error {
	s.current()
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.err
}

func (s *FileSource) current() material {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats, err := s.stat()
	if err != nil {
		s.err = err
		return s.good
	}
	if s.err == nil && s.unchanged(stats) {
		return s.good
	}
	m, err := s.files.load()
	s.err = err
	if err == nil {
		// The stats are those from before the reading: a write in between is seen as a change the next time.
		s.stats, s.good = stats, m
	}

	return s.good
}

func (s *FileSource) stat() (stats [3]os.FileInfo, err error) {
	for i, name := range []string{s.files.Cert, s.files.Key, s.files.Bundle} {
		if name == "" {
			continue
		}
		if stats[i], err = os.Stat(name); err != nil {
			return stats, fmt.Errorf("looking at identity files: %w", err)
		}
	}

	return stats, nil
}

func (s *FileSource) unchanged(now [3]os.FileInfo) bool {
	for i, was := range s.stats {
		switch {
		case was == nil && now[i] == nil:
		case was == nil || now[i] == nil:
			return false
		case !os.SameFile(was, now[i]) || !was.ModTime().Equal(now[i].ModTime()) || was.Size() != now[i].Size():
			return false
		}
	}

	return s.good.roots != nil
}

func (f Files) load() (material, error) {
	bundle, err := os.ReadFile(f.Bundle)
	if err != nil {
		return material{}, fmt.Errorf("reading trusted roots: %w", err)
	}
	roots, err := DecodeCertificates(bundle)
	if err != nil {
		return material{}, fmt.Errorf("reading trusted roots %s: %w", f.Bundle, err)
	}
	m := material{roots: Pool(roots...)}
	if f.Cert == "" && f.Key == "" {
		return m, nil
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return material{}, fmt.Errorf("reading certificate: %w", err)
	}
	m.cert = &cert

	return m, nil
}
