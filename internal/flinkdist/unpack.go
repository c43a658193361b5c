package flinkdist

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// verify reads the file once and compares its checksum.
func verify(ctx context.Context, name, want string) error {
	return verifySum(ctx, name, sha256.New(), want)
}

func verifySum(ctx context.Context, name string, h hash.Hash, want string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(h, reader{ctx, file}); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has the wrong checksum: got %s, want %s", filepath.Base(name), got, want)
	}
	return nil
}

// unpack writes the jars that lie directly in directory from of the archive into
// the directory to, flat, and returns their size in bytes.
func unpack(ctx context.Context, archive, from, to string) (int64, error) {
	if strings.HasSuffix(archive, ".tar.gz") {
		return unpackTar(ctx, archive, from, to)
	}
	return unpackZip(ctx, archive, from, to)
}

func unpackZip(ctx context.Context, archive, from, to string) (n int64, err error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	for _, entry := range z.File {
		if !wanted(entry.Name, from) || !entry.Mode().IsRegular() {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return n, err
		}
		m, err := write(ctx, filepath.Join(to, path.Base(entry.Name)), r)
		r.Close()
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

func unpackTar(ctx context.Context, archive, from, to string) (n int64, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	gz, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return 0, err
	}
	t := tar.NewReader(gz)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if h.Typeflag != tar.TypeReg || !wanted(h.Name, from) {
			continue
		}
		m, err := write(ctx, filepath.Join(to, path.Base(h.Name)), t)
		if n += m; err != nil {
			return n, err
		}
	}
}

func wanted(name, from string) bool {
	return path.Dir(name) == from && strings.HasSuffix(name, ".jar")
}

// write makes a file durable: the rename that follows must never publish a
// distribution whose bytes a power cut can still take away.
func write(ctx context.Context, name string, r io.Reader) (int64, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(file, reader{ctx, r})
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return n, err
}

// reader ends a copy when the context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
