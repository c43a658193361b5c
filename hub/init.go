package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/run"
)

// A hub is made in a directory inside its own, since that may be a mounted volume, and moved out of it when it is whole.
// So an Init that is killed can be asked again:
//
//	.making/   not whole: thrown away
//	.made/     whole: what is still in it is moved
const (
	makingDir = ".making"
	madeDir   = ".made"
)

// noContent are the entries of a directory that is empty all the same: a fresh volume has the last one.
var noContent = []string{makingDir, madeDir, "lost+found"}

// Init makes the directory of a new hub in cfg.Dir, which must be empty or missing, with the tenant "default" and an
// admin of the given name. It returns the paths of the configuration file and of the admin's directory.
func Init(ctx context.Context, cfg Config, admin string, log *slog.Logger) (configPath, adminPath string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", "", err
	}
	if _, err := identity.AdminID(cfg.TrustDomain, admin); err != nil {
		return "", "", err
	}
	made := filepath.Join(cfg.Dir, madeDir)
	if missing(made) {
		if err := makeHub(ctx, cfg, admin, log); err != nil {
			return "", "", err
		}
	}
	if err := moveOut(made, cfg.Dir); err != nil {
		return "", "", err
	}
	if _, err := openAuthority(cfg); err != nil { // what was moved may have been made for something else
		return "", "", err
	}

	return filepath.Join(cfg.Dir, ConfigFile), filepath.Join(cfg.Dir, adminDir, admin), nil
}

// Exists tells that cfg.Dir holds a whole hub of cfg.TrustDomain. It is an error if there is something else, of which no
// hub can be made.
func Exists(cfg Config) (bool, error) {
	if err := checkEmpty(cfg.Dir); err == nil || !missing(filepath.Join(cfg.Dir, madeDir)) {
		return false, nil // to be made, or to be moved
	}
	if _, err := openAuthority(cfg); err != nil {
		return false, err
	}
	if _, err := openMAC(cfg.Dir); err != nil {
		return false, err
	}
	if missing(filepath.Join(cfg.Dir, storeDir)) {
		return false, fmt.Errorf("%s holds a hub without its %s: restore it from a backup of this hub", cfg.Dir, storeDir)
	}

	return true, nil
}

// makeHub leaves a whole hub in madeDir.
func makeHub(ctx context.Context, cfg Config, admin string, log *slog.Logger) error {
	if err := checkEmpty(cfg.Dir); err != nil {
		return err
	}
	draft := cfg
	draft.Dir = filepath.Join(cfg.Dir, makingDir)
	if err := os.RemoveAll(draft.Dir); err != nil {
		return fmt.Errorf("making a hub: throwing away what an earlier one left: %w", err)
	}
	authority, err := ca.Create(filepath.Join(draft.Dir, caDir), cfg.TrustDomain)
	if err != nil {
		return err
	}
	key := make([]byte, macBytes)
	rand.Read(key) // never fails: the process ends instead
	if err := writeNew(filepath.Join(draft.Dir, macFile), []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return err
	}
	if err := initStore(ctx, filepath.Join(draft.Dir, storeDir), log); err != nil {
		return err
	}
	if _, err := writeAdmin(draft, authority, admin); err != nil {
		return err
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("encoding the configuration: %w", err)
	}
	if err := writeNew(filepath.Join(draft.Dir, ConfigFile), text); err != nil {
		return err
	}
	if err := os.Rename(draft.Dir, filepath.Join(cfg.Dir, madeDir)); err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}

	return syncDir(cfg.Dir)
}

// moveOut moves what is left in a directory to another, and removes it.
func moveOut(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return fmt.Errorf("making a hub: %w", err)
		}
	}
	if err := os.Remove(from); err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}

	return syncDir(to)
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}

	return nil
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making a hub: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !slices.Contains(noContent, e.Name()) }) {
		return fmt.Errorf("%s is not empty: name a new directory, or start the hub that is there with --config", dir)
	}

	return nil
}

// initStore makes the database and its first row.
func initStore(ctx context.Context, dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the store's directory: %w", err)
	}
	s, err := store.Open(ctx, store.Options{Dir: dir, Init: true, Logger: log})
	if err != nil {
		return err
	}
	err = run.Once(ctx, run.Task{Name: "making the tenant " + flink.DefaultTenant, Run: func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()

		return run.Once(ctx,
			run.Task{Name: "store", Run: s.Run},
			run.Task{Name: "write", Run: func(ctx context.Context) error {
				defer stop()
				a := store.Audit{Who: "init", Verb: "tenant.create", Object: flink.DefaultTenant}
				_, err := s.Write(ctx, a, func(txn *store.Txn) error {
					txn.PutTenant(store.Tenant{Name: flink.DefaultTenant})

					return nil
				})

				return err
			}})
	}})

	return errors.Join(err, s.Close())
}
