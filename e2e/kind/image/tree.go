package image

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of everything in an image.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// tree is a part of a file system, by path without a leading slash. A directory
// that is on the way to an entry need not be an entry of its own.
type tree map[string]node

// node is one entry: a regular file if it has a source or content, a symbolic
// link if it has a target, else a directory.
type node struct {
	mode    fs.FileMode // permissions, and fs.ModeSticky; zero: 0755
	source  string      // file on this machine, which must not change
	content string      // instead of a source
	link    string
}

// write puts the tree out as a tar file.
func (t tree) write(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t.withParents())) {
		if err := writeNode(out, name, t[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return out.Close()
}

func (t tree) withParents() tree {
	all := maps.Clone(t)
	for name := range t {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = node{}
			}
		}
	}
	return all
}

func writeNode(out *tar.Writer, name string, n node) error {
	h := &tar.Header{Name: name, Mode: int64(cmp.Or(n.mode.Perm(), 0o755)), ModTime: epoch(), Format: tar.FormatPAX}
	if n.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	switch {
	case n.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, n.link, 0o777
		return out.WriteHeader(h)
	case n.source != "":
		return writeFile(out, h, n.source)
	case n.content != "":
		h.Typeflag, h.Size = tar.TypeReg, int64(len(n.content))
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(out, strings.NewReader(n.content))
		return err
	default:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return out.WriteHeader(h)
	}
}

func writeFile(out *tar.Writer, h *tar.Header, source string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}

// layer is a tar file, not compressed (jars do not shrink), that is written
// again for each reader.
type layer struct {
	write func(io.Writer) error
	hash  v1.Hash
	size  int64
}

// newLayer reads the content once, for its name and size.
func newLayer(write func(io.Writer) error) (*layer, error) {
	h, n := sha256.New(), counter(0)
	if err := write(io.MultiWriter(h, &n)); err != nil {
		return nil, err
	}
	return &layer{write: write, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, size: int64(n)}, nil
}

// tarLayer is the layer whose content is a tar file of this machine.
func tarLayer(name string) (*layer, error) {
	return newLayer(func(w io.Writer) error {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(w, file)
		return err
	})
}

func (l *layer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.Uncompressed() }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return stream(l.write), nil }

// errClosed ends the writer of a stream that nobody reads on.
var errClosed = errors.New("reader closed")

// stream turns a writer into a reader.
func stream(write func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(write(w)) // nil is an end of file
	}()
	return &pipe{PipeReader: r, done: done}
}

type pipe struct {
	*io.PipeReader
	done chan struct{}
}

// Close returns after the writer has let go of its files.
func (p *pipe) Close() error {
	err := p.CloseWithError(errClosed)
	<-p.done
	return err
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
