package process

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Snapshots reads state storage on this host's file system. The zero value is ready.
type Snapshots struct{}

// metadataMagic begins every _metadata file that Flink has completed.
const metadataMagic = 0x4960672d

// Exists implements reconcile.Snapshots. Storage other than files is an error.
func (Snapshots) Exists(ctx context.Context, path string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, context.Cause(ctx)
	}
	dir, ok := localPath(path)
	if !ok {
		return false, unsupported(path)
	}
	_, ok, err := complete(dir)
	return ok, err
}

// Newest implements reconcile.Snapshots. A directory of a run that is not there
// is an error: it was made before the run started.
func (Snapshots) Newest(ctx context.Context, r flink.Run, checkpointsDir string) (flink.Snapshot, error) {
	root, ok := localPath(checkpointsDir)
	if !ok {
		return flink.Snapshot{}, unsupported(checkpointsDir)
	}
	if st, err := os.Stat(root); err != nil || !st.IsDir() {
		return flink.Snapshot{}, fmt.Errorf("checkpoints directory of run %s: %w", r, notDir(root, err))
	}
	dir := filepath.Join(root, r.JobID())
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return flink.Snapshot{}, nil // its job never got so far
	}
	if err != nil {
		return flink.Snapshot{}, fmt.Errorf("list checkpoints of run %s: %w", r, err)
	}
	newest := flink.Snapshot{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return flink.Snapshot{}, context.Cause(ctx)
		}
		n, ok := flink.CheckpointID("/" + e.Name())
		if !ok || n <= newest.ID && !newest.IsZero() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		at, whole, err := complete(path)
		if err != nil {
			return flink.Snapshot{}, err
		}
		if whole {
			newest = flink.Snapshot{Path: flink.NormalizePath(path), Kind: flink.KindCheckpoint, ID: n, CompletedAt: at.ModTime(), Run: r}
		}
	}
	return newest, nil
}

// Savepoint implements reconcile.Snapshots. Of several it takes the newest.
func (Snapshots) Savepoint(ctx context.Context, r flink.Run, directory string) (flink.Snapshot, error) {
	dir, ok := localPath(directory)
	if !ok {
		return flink.Snapshot{}, unsupported(directory)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return flink.Snapshot{}, nil // Flink makes it for the first savepoint
	}
	if err != nil {
		return flink.Snapshot{}, fmt.Errorf("list savepoints of run %s: %w", r, err)
	}
	newest := flink.Snapshot{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return flink.Snapshot{}, context.Cause(ctx)
		}
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		at, whole, err := complete(path)
		if err != nil {
			return flink.Snapshot{}, err
		}
		if whole && (newest.IsZero() || at.ModTime().After(newest.CompletedAt)) {
			newest = flink.Snapshot{Path: flink.NormalizePath(path), Kind: flink.KindSavepoint, CompletedAt: at.ModTime(), Run: r}
		}
	}
	return newest, nil
}

// complete reports whether a directory holds a snapshot's _metadata, whole as
// far as its beginning tells: Flink gives it its name when it is complete.
func complete(dir string) (fs.FileInfo, bool, error) {
	f, err := os.Open(filepath.Join(dir, "_metadata"))
	if errors.Is(err, fs.ErrNotExist) || isFile(dir) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read snapshot: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("read snapshot: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, false, nil
	}
	var head [8]byte
	if _, err := io.ReadFull(f, head[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("read snapshot: %w", err)
	}
	return st, binary.BigEndian.Uint32(head[:4]) == metadataMagic, nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.IsDir()
}

// localPath is the path of a file: URI or an absolute path, without _metadata.
func localPath(uri string) (string, bool) {
	path, ok := strings.CutPrefix(flink.NormalizePath(uri), "file:")
	return path, ok
}

func unsupported(path string) error {
	return fmt.Errorf("%q: on a host only files can be read", path)
}

func notDir(path string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is not a directory", path)
}
