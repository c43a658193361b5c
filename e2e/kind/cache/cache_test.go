package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOneOfManyMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dear")
	var made, found atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cached, err := Fill(t.Context(), path, func(_ context.Context, temporary string) error {
				made.Add(1)
				return os.WriteFile(temporary, []byte("whole"), 0o644)
			})
			if err != nil {
				t.Error(err)
			}
			if cached {
				found.Add(1)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "whole" {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || found.Load() != 7 {
		t.Errorf("made %d times, found %d times; want 1 and 7", made.Load(), found.Load())
	}
}

func TestWhatFailsLeavesNothingAndIsTriedAgain(t *testing.T) {
	path, broken := filepath.Join(t.TempDir(), "dear"), errors.New("broken")
	_, err := Fill(t.Context(), path, func(_ context.Context, temporary string) error {
		return errors.Join(os.WriteFile(temporary, []byte("ha"), 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); !slices.Equal(left, []string{path + ".lock"}) {
		t.Errorf("left: %v", left)
	}
	if err := os.WriteFile(path+".unfinished", []byte("of a killed one"), 0o644); err != nil {
		t.Fatal(err)
	}
	cached, err := Fill(t.Context(), path, func(_ context.Context, temporary string) error {
		if _, err := os.Stat(temporary); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the free name is taken: %v", err)
		}
		return os.WriteFile(temporary, []byte("whole"), 0o644)
	})
	if err != nil || cached {
		t.Errorf("got cached=%t, %v", cached, err)
	}
}

func TestALockIsNotWaitedForLongerThanTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Lock(ctx, path); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	unlock()
	unlock, err = Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestPruneKeepsWhatWasUsedLast(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1e9, 0)
	for i, name := range []string{"a-1", "a-2", "a-3", "b-1"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.WriteFile(path+".lock", nil, 0o644), Touch(path, now.Add(time.Duration(i)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if err := Touch(filepath.Join(dir, "a-1"), now.Add(time.Hour*24)); err != nil {
		t.Fatal(err)
	}
	if err := Prune(filepath.Join(dir, "a-?"), 2); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{"a-1", "a-1.lock", "a-3", "a-3.lock", "b-1", "b-1.lock"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
