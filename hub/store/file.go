package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// The two files, and what stands in them. Values in [brackets] are frames (record.go).
//
//	log.db                                what was written, until rows.db has it
//	├─ meta
//	│  ├─ schema  uint16
//	│  ├─ store   16 random bytes, the same in both files
//	│  └─ sum     8 bytes, over everything else in the file (sum.go)
//	└─ log        revision (8 bytes) → [Record]; no gaps; the last one always stays
//
//	rows.db                               the newest rows as of meta/head, and what memory does not hold
//	├─ meta
//	│  ├─ schema, store, sum
//	│  └─ head    revision (8 bytes): everything up to here is in this file
//	├─ rows
//	│  └─ tenants, clusters, tokens, jobs, assignments, orders       key → [revision, Row]
//	├─ stubs      cluster, uid → [revision, Row]      of dropped orders, 180 days
//	├─ epochs     number (8 bytes) → [Span]           the last 4,096
//	├─ observed   job uid → [StatusRow]               written behind, or before the answer
//	├─ history
//	│  └─ <job uid>   generation (8 bytes) → [revision, Row of the job]    the last 50
//	└─ audit      revision (8 bytes) → [revision, Row]    a hash chain, the last million
//
// rows.db is exactly the state at its head at any time: a checkpoint moves whole records over, in order, in one
// transaction with the head. So a kill between any two steps loses nothing and repeats nothing that matters.
const (
	logFile  = "log.db"
	rowsFile = "rows.db"
)

const (
	bucketMeta     = "meta"
	bucketLog      = "log"
	bucketRows     = "rows"
	bucketStubs    = tableStubs
	bucketEpochs   = "epochs"
	bucketObserved = "observed"
	bucketHistory  = "history"
	bucketAudit    = tableAudit

	metaSchema = "schema"
	metaStore  = "store"
	metaHead   = "head"
	metaSum    = "sum"
)

// lockTimeout is how long Open waits for another process to let go of a file.
const lockTimeout = time.Second

// damaged says which file cannot be used, why, and what helps.
func damaged(path string, why error) error {
	if errors.Is(why, ErrDamaged) || errors.Is(why, ErrLocked) {
		return why
	}
	return fmt.Errorf("%w: %s: %w; restore %s from a backup of this hub, or make a new hub in an empty directory with waterwheel-hub init"+
		" (its agents keep their jobs running)", ErrDamaged, path, why, filepath.Dir(path))
}

// guarded turns a panic of bbolt over damaged pages, also one about memory that is not there, into an error.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, fmt.Errorf("damaged pages: %v", p))
		}
	}()
	return fn()
}

// openFile opens one of the two files of an existing store, after a look at every page of it.
func openFile(ctx context.Context, path string) (*bbolt.DB, error) {
	if err := look(path); err != nil {
		return nil, err
	}
	return openBolt(ctx, path, bbolt.Open)
}

type opener = func(path string, mode os.FileMode, o *bbolt.Options) (*bbolt.DB, error)

// openBolt opens a file with bbolt's Open, or leaves it unlocked.
func openBolt(ctx context.Context, path string, open opener) (db *bbolt.DB, err error) {
	var held *os.File
	options := boltOptions()
	options.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		f, err = os.OpenFile(name, flag, mode)
		held = f
		return f, err
	}
	err = guarded(path, func() error {
		if db, err = open(path, 0o600, options); err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var first error
			for err := range tx.Check() {
				if first == nil {
					first = err
				}
			}
			return errors.Join(first, ctx.Err())
		})
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrLocked, filepath.Dir(path))
	}
	switch { // what is wrong with it is told already
	case db != nil:
		_ = db.Close()
	case held != nil:
		// A panic of bbolt leaves the file open and mapped, and a map keeps the lock even of a closed file.
		_ = unix.Flock(int(held.Fd()), unix.LOCK_UN)
		_ = held.Close()
	}
	return nil, damaged(path, err)
}

// look refuses a file that is missing, empty, in use, or damaged in its pages.
func look(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged(path, errors.New("is missing"))
	}
	if err != nil {
		return damaged(path, err)
	}
	defer f.Close() // releases the lock too
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		// bbolt would make a new store of it, and a hub that knows nothing must not come up by mistake.
		return damaged(path, errors.Join(errors.New("is empty"), err))
	}
	// The same lock as bbolt takes: the pages of a file that another hub writes cannot be read.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: %s", ErrLocked, filepath.Dir(path))
	}
	if err := inspect(f, info.Size()); err != nil {
		return damaged(path, err)
	}
	return nil
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout:         lockTimeout,
		NoFreelistSync:  true, // 10 times less to write for a large file
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		InitialMmapSize: 64 << 20, // growing the map waits for readers
	}
}

// create makes both files of a new store, or none that Open would take for one.
func create(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the store's directory: %w", err)
	}
	for _, name := range []string{logFile, rowsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--init refused: %s exists; start without --init to use it, or choose an empty directory",
				filepath.Join(dir, name))
		}
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	// Power lost half way through the making of a bbolt file leaves a broken one: each gets its name when it is whole.
	for _, f := range []struct {
		name    string
		buckets []string
	}{
		{rowsFile, []string{bucketRows, bucketStubs, bucketEpochs, bucketObserved, bucketHistory, bucketAudit}},
		{logFile, []string{bucketLog}},
	} {
		if err := createFile(filepath.Join(dir, f.name), id, f.buckets); err != nil {
			return fmt.Errorf("make %s: %w", f.name, err)
		}
	}
	return syncDir(dir)
}

func createFile(path string, id []byte, buckets []string) error {
	making := path + ".making"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(making, 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = update(db, func(w *writing) error {
		for _, name := range buckets {
			if _, err := w.create(name); err != nil {
				return err
			}
		}
		meta, err := w.create(bucketMeta)
		if err != nil {
			return err
		}
		return errors.Join(meta.put([]byte(metaSchema), []byte{0, Schema}), meta.put([]byte(metaStore), id))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(making, path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// identity checks a file's meta bucket and gives the id that ties the two files together.
func identity(db *bbolt.DB, buckets ...string) (id string, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		for _, name := range append(buckets, bucketMeta) {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("not a store's file: no bucket %s", name)
			}
		}
		meta := tx.Bucket([]byte(bucketMeta))
		v := schemaOf(meta.Get([]byte(metaSchema)))
		if v == 0 {
			return errors.New("not a store's file: no schema")
		}
		if v > Schema {
			return fmt.Errorf("schema %d, written by a newer version; this one reads up to %d", v, Schema)
		}
		id = hex.EncodeToString(meta.Get([]byte(metaStore)))
		return nil
	})
	return id, err
}

// freeBytes is how much an ordinary user may still write where dir is.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
