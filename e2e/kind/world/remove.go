package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
	"github.com/waterwheel-io/waterwheel/e2e/kind/storage"
)

// Left is what a removal did not remove.
type Left struct {
	Containers int // nodes of the world's clusters
	Processes  int // of its storage, and of the engine that this module started for it alone
}

// Remove removes a world by its name, finished or not: clusters, storage, the files of who typed. The engine goes too if
// this module started it and no other world's clusters are in it.
func Remove(ctx context.Context, name string, progress io.Writer) (Left, error) {
	say := &teller{to: progress, began: time.Now()}
	var left Left
	var errs []error
	for _, e := range engine.Running(ctx, engine.Options{}) {
		names, err := cluster.List(e)
		errs = append(errs, err)
		others := 0
		for _, full := range names {
			if !belongs(full, name) {
				others++
				continue
			}
			c, err := cluster.Handle(e, full)
			if err == nil {
				err = c.Delete()
			}
			if err != nil {
				left.Containers++
				errs = append(errs, err)
				continue
			}
			say.line("cluster " + full + " is removed")
		}
		if !e.Own || others > 0 {
			continue
		}
		if _, err := engine.Stop(ctx, engine.Options{Progress: say.line}); err != nil {
			left.Processes++
			errs = append(errs, err)
		}
	}
	return left, errors.Join(append(errs, forget(ctx, name, &left))...)
}

// removeLeft removes what an earlier world of the name left: one that was killed, whose clusters, jobs, invitations and
// storage would be taken for this one's.
func (b *Base) removeLeft(ctx context.Context) error {
	names, err := cluster.List(b.Engine)
	if err != nil {
		return err
	}
	for _, full := range names {
		if !belongs(full, b.o.Name) {
			continue
		}
		c, err := cluster.Handle(b.Engine, full)
		if err == nil {
			err = c.Delete()
		}
		if err != nil {
			return fmt.Errorf("remove what an earlier world left: %w", err)
		}
		b.Say("cluster " + full + " was left by an earlier world: removed")
	}
	return forget(ctx, b.o.Name, &Left{})
}

// belongs reports whether a cluster is one of a fleet's: of a world of that name, and not of one whose name begins with it.
func belongs(full, world string) bool {
	rest, ok := strings.CutPrefix(full, cluster.Prefix+world+"-")
	if rest == "vendor" {
		return ok
	}
	number, customer := strings.CutPrefix(rest, "c")
	_, err := strconv.ParseUint(number, 10, 16)
	return ok && customer && err == nil
}

// forget ends a world's storage and removes its files.
func forget(ctx context.Context, name string, left *Left) error {
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "storage-"+name)
	s, err := storage.Attach(dir, nil)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := s.Stop(ctx); err != nil {
			left.Processes++
			return fmt.Errorf("end the storage: %w", err)
		}
	}
	return errors.Join(os.RemoveAll(dir), os.RemoveAll(filepath.Join(root, "home-"+name)))
}
