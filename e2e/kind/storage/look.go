package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
)

// Snapshot is a checkpoint or savepoint that is complete: it has its metadata.
type Snapshot struct {
	URI       string    // as Flink names it
	Number    int64     // N of a checkpoint chk-N; 0 for a savepoint
	Savepoint bool      // not a checkpoint
	At        time.Time // when the metadata was written
}

// Path is where the object or prefix of that URI lies on this machine.
func (s *Server) Path(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("object storage: %w", err)
	}
	below := path.Join(u.Host, u.Path)
	if u.Scheme != "s3" && u.Scheme != "s3a" || u.Host == "" || !filepath.IsLocal(below) {
		return "", fmt.Errorf("object storage: %q is not a place in a bucket", uri)
	}
	return filepath.Join(s.dir, "data", filepath.FromSlash(below)), nil
}

// Snapshots lists the complete snapshots at any depth below the URI: of one run,
// or of all runs of a job. Oldest first; none if there is no such place.
func (s *Server) Snapshots(uri string) ([]Snapshot, error) {
	root, err := s.Path(uri)
	if err != nil {
		return nil, err
	}
	var found []Snapshot
	err = filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // Flink removes old ones while we look
		}
		if err != nil || e.IsDir() || e.Name() != "_metadata" {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		snapshot := Snapshot{URI: strings.TrimSuffix(uri, "/"), At: info.ModTime()}
		if rel != "." {
			snapshot.URI += "/" + filepath.ToSlash(rel)
		}
		number, isCheckpoint := strings.CutPrefix(path.Base(snapshot.URI), "chk-")
		if snapshot.Number, err = strconv.ParseInt(number, 10, 64); err != nil || !isCheckpoint {
			snapshot.Number, snapshot.Savepoint = 0, true
		}
		found = append(found, snapshot)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("object storage: list snapshots below %s: %w", uri, err)
	}
	slices.SortFunc(found, func(a, b Snapshot) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Number, b.Number)) })
	return found, nil
}

// Checkpoints are the Snapshots that are checkpoints, by their number. The
// numbers of different runs do not compare: name one run.
func (s *Server) Checkpoints(uri string) ([]Snapshot, error) {
	all, err := s.Snapshots(uri)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n Snapshot) bool { return n.Savepoint })
	slices.SortFunc(all, func(a, b Snapshot) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// Ledger checks what the ledger job has committed below the URI.
func (s *Server) Ledger(uri string, keys int64) (ledger.Report, error) {
	dir, err := s.Path(uri)
	if err != nil {
		return ledger.Report{}, err
	}
	return ledger.Check(dir, keys)
}
