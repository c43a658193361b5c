package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func pass(_ context.Context, out io.Writer) error {
	_, err := io.WriteString(out, "all well\n")

	return err
}

func fail(context.Context, io.Writer) error { return errors.New("no") }

func TestStepsAreNamedLoggedAndTimed(t *testing.T) {
	var out strings.Builder
	dir := filepath.Join(t.TempDir(), "a", "b")
	results, err := runner{out: &out, dir: dir}.run(t.Context(), []step{{"one", time.Minute, pass}})
	if err != nil || len(results) != 1 || !results[0].reached {
		t.Fatalf("got %+v, %v", results, err)
	}
	for _, want := range []string{"step name=one deadline=1m0s\n", "all well\n", "step name=one ok=true s=0.0\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if log, err := os.ReadFile(filepath.Join(dir, "one.log")); err != nil || string(log) != "all well\n" {
		t.Errorf("log: %q, %v", log, err)
	}
}

func TestFailureStopsTestButNotCheck(t *testing.T) {
	steps := []step{{"bad", time.Minute, fail}, {"next", time.Minute, pass}}
	for _, stop := range []bool{true, false} {
		results, err := runner{out: io.Discard, dir: t.TempDir(), stopAtFirst: stop}.run(t.Context(), steps)
		if err == nil || !strings.Contains(err.Error(), "bad: no") {
			t.Errorf("stop=%t: error %v must name the step", stop, err)
		}
		if results[1].reached == stop {
			t.Errorf("stop=%t: next step reached: %t", stop, results[1].reached)
		}
		var out strings.Builder
		table(&out, results)
		if !strings.Contains(out.String(), "FAILED") || strings.Contains(out.String(), "not reached") != stop {
			t.Errorf("stop=%t: table\n%s", stop, out.String())
		}
	}
}

func TestDeadlineEndsACommandAndSaysSo(t *testing.T) {
	steps := []step{{"slow", 50 * time.Millisecond, command("sleep", "600")}}
	results, err := runner{out: io.Discard, dir: t.TempDir()}.run(t.Context(), steps)
	if err == nil || !strings.Contains(err.Error(), "not done within 50ms") || results[0].took > grace {
		t.Errorf("got %v after %s", err, results[0].took)
	}
}

func TestChooseKnowsItsSteps(t *testing.T) {
	test, err := choose([]string{"test"}, "2.3.0")
	if err != nil || names(test) != "cc modules fetch apiserver helm unit unit-kind world ground story generated tidy tidy-kind tidy-node format buf-lint buf-breaking lint lint-kind race story-kind" {
		t.Errorf("test: %s, %v", names(test), err)
	}
	if two, err := choose([]string{"lint", "unit"}, "2.3.0"); err != nil || names(two) != "lint unit" {
		t.Errorf("two: %s, %v", names(two), err)
	}
	for _, args := range [][]string{nil, {"nothing"}, {"test", "check"}} {
		if _, err := choose(args, ""); err == nil {
			t.Errorf("%v: accepted", args)
		}
	}
}

func TestWhatNeedsTheNetworkIsTriedAgain(t *testing.T) {
	for fails, want := range map[int]int{0: 1, 2: 3, 9: 4} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := again(t.Context(), io.Discard, func(context.Context, io.Writer) error {
				if tries++; tries <= fails {
					return errors.New("no answer")
				}

				return nil
			})
			if tries != want || (err != nil) != (fails > 3) {
				t.Errorf("fails %d times: %d tries, %v", fails, tries, err)
			}
		})
	}
}

func TestDifferencesOfTrees(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	got, err := differences(
		fstest.MapFS{"a/same.go": file("x"), "a/old.go": file("x"), "b/changed.go": file("x")},
		fstest.MapFS{"a/same.go": file("x"), "b/changed.go": file("y"), "c/new.go": file("z")},
	)
	want := []string{"differs: b/changed.go", "left over: a/old.go", "missing: c/new.go"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
