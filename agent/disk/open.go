package disk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
)

// The file, schema 1. Every value but meta/schema is sealed: format byte, CRC-32C of key and payload, payload.
//
//	meta      schema    → "1"
//	          cursor    → JSON of feed.Cursor
//	          max_epoch → JSON number, greatest epoch number ever seen
//	          report_id → JSON number, last id given to a report
//	rows      uid → JSON of row: what the hub said last, and what of it is in force
//	bodies    uid → the bytes of the last good order, as shipped
//	memories  uid → JSON of plan.Memory
//	reports   uid → JSON of feed.Report, until the hub has it on disk
//
// Beside it stands the file site_uid, so that a store that was lost and made anew still names the same place.
var (
	bucketMeta     = []byte("meta")
	bucketRows     = []byte("rows")
	bucketBodies   = []byte("bodies")
	bucketMemories = []byte("memories")
	bucketReports  = []byte("reports")

	keySchema   = []byte("schema")
	keyCursor   = []byte("cursor")
	keyMaxEpoch = []byte("max_epoch")
	keyReportID = []byte("report_id")
)

const (
	schema      = "1"
	siteFile    = "site_uid"
	lockTimeout = 5 * time.Second
	fileMode    = 0o600
)

// Errors of Open that callers tell apart.
var (
	ErrMissing = errors.New("agent store is missing")
	ErrDamaged = errors.New("agent store is damaged")
)

// ErrUnknownJob is wrapped by errors about a uid that is not on record.
var ErrUnknownJob = records.ErrUnknownJob

// Options of Open. Decode is required.
type Options struct {
	// Create makes the store when there is no file. Without it a missing file is ErrMissing. The hub's rows come
	// again by themselves, the memories do not: runs that still exist are then found by observation.
	Create bool
	// Decode reads and validates the body of an order (schema 1). Its error is what the hub shows as the nack; one that
	// wraps wire.ErrUnknown says that the body is newer than this agent.
	Decode func(body []byte) (flink.Order, error)
}

// Store is the open file. All methods may be called from any goroutine.
type Store struct {
	*records.Store

	db *bolt.DB
}

// Record is what is kept about one job.
type Record = records.Record

// Open opens the store at path, checks every page and record, and takes the file's lock. ErrMissing and ErrDamaged say
// what to do.
func Open(path string, o Options) (*Store, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !o.Create {
			return nil, fmt.Errorf("%w: %s does not exist; restore it, or start once with leave to create it: jobs that run are kept, and orders come from the hub", ErrMissing, path)
		}
		if err := create(path); err != nil {
			return nil, fmt.Errorf("create agent store %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("look at agent store: %w", err)
	case info.Size() == 0:
		return nil, damaged(path, errors.New("the file is empty"))
	}
	site, err := siteUID(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("site uid beside agent store: %w", err)
	}
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	if err := db.View(check); err != nil {
		return nil, errors.Join(damaged(path, err), db.Close())
	}
	kept, err := records.New(context.Background(), file{db: db, site: site}, records.Options{Decode: o.Decode})
	if err != nil {
		return nil, errors.Join(damaged(path, err), db.Close())
	}

	return &Store{Store: kept, db: db}, nil
}

func openBolt(path string) (db *bolt.DB, err error) {
	defer func() {
		// bbolt panics on some damaged pages instead of returning an error.
		if r := recover(); r != nil {
			db, err = nil, damaged(path, fmt.Errorf("%v", r))
		}
	}()
	db, err = bolt.Open(path, fileMode, &bolt.Options{
		Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("agent store %s is held by another process: one agent per directory", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open agent store: %w", err)
	case err != nil:
		return nil, damaged(path, err)
	}

	return db, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s: %w; keep it for study, move it away, and start again: jobs that run are kept, and orders come from the hub", ErrDamaged, path, cause)
}

// create makes the file under another name first, so that a crash leaves either none or a whole one.
func create(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(fresh, fileMode, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketRows, bucketBodies, bucketMemories, bucketReports} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}

		return tx.Bucket(bucketMeta).Put(keySchema, []byte(schema))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}

	return syncDir(filepath.Dir(path))
}

// siteUID reads the name of this place, or gives it one.
func siteUID(dir string) (string, error) {
	path := filepath.Join(dir, siteFile)
	b, err := os.ReadFile(path)
	switch uid := strings.TrimSpace(string(b)); {
	case err == nil && len(uid) == 32:
		return uid, nil
	case err == nil && uid != "":
		return "", fmt.Errorf("%s holds %q, want 32 hex digits", path, uid)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	uid := hex.EncodeToString(raw[:])
	if err := writeFile(path, []byte(uid+"\n")); err != nil {
		return "", err
	}

	return uid, nil
}

func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}

	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}

	return errors.Join(d.Sync(), d.Close())
}

// check says whether the file is whole, but for its records.
func check(tx *bolt.Tx) error {
	for err := range tx.Check() {
		return fmt.Errorf("page check: %w", err)
	}
	for _, name := range [][]byte{bucketMeta, bucketRows, bucketBodies, bucketMemories, bucketReports} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("bucket %s is missing", name)
		}
	}
	if got := string(tx.Bucket(bucketMeta).Get(keySchema)); got != schema {
		return fmt.Errorf("schema is %q, this agent reads %q", got, schema)
	}

	return nil
}
