package programs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// A graph of one program, without dependencies.
func graph(source string) fstest.MapFS {
	return fstest.MapFS{
		"go.mod":        {Data: []byte("module x\n\ngo 1.26.0\n")},
		"go.sum":        {},
		"pause/main.go": {Data: []byte(source)},
	}
}

const works = "package main\n\nfunc main() {}\n"

func TestAProgramIsBuiltOnceAndKept(t *testing.T) {
	t.Parallel()
	said := 0
	c := &Cache{Root: t.TempDir(), Graph: graph(works), Progress: func(string) { said++ }}
	dir, err := c.Ensure(t.Context(), "pause")
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(filepath.Join(dir, "pause"))
	if err != nil {
		t.Fatal(err)
	}
	built := said
	if _, err := c.Ensure(t.Context(), "pause"); err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(filepath.Join(dir, "pause"))
	if err != nil {
		t.Fatal(err)
	}
	if built == 0 || said != built || !os.SameFile(first, second) {
		t.Errorf("lines at first %d, then %d; want none the second time, and the same file", built, said-built)
	}
}

func TestAFailedBuildLeavesNothingThatCountsAsBuilt(t *testing.T) {
	t.Parallel()
	c := &Cache{Root: t.TempDir(), Graph: graph("package main\n\nfunc main() { nothing() }\n")}
	dir, err := c.Dir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "half-1", "bin"), 0o755); err != nil { // of one that was killed
		t.Fatal(err)
	}
	if _, err := c.Ensure(t.Context(), "pause"); err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Fatalf("error %v; want the compiler's words", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
	if err != nil {
		t.Fatal(err)
	}
	half, err := filepath.Glob(filepath.Join(dir, "half-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left)+len(half) != 0 {
		t.Errorf("left %q %q", left, half)
	}
}

func TestAnUnknownProgramIsNamedWithThoseThereAre(t *testing.T) {
	t.Parallel()
	c := &Cache{Root: t.TempDir(), Graph: graph(works)}
	_, err := c.Ensure(t.Context(), "docker")
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Errorf("error %v", err)
	}
}

func TestTheKeyFollowsTheGraph(t *testing.T) {
	t.Parallel()
	key := func(g fstest.MapFS) string {
		t.Helper()
		k, err := (&Cache{Graph: g}).Key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if one, again := key(graph(works)), key(graph(works)); one != again {
		t.Errorf("one graph has two keys: %s and %s", one, again)
	}
	if key(graph(works)) == key(graph(works+"\n")) {
		t.Error("two graphs have one key")
	}
}

func TestTheLinkerIsToldTheWholeVersion(t *testing.T) {
	t.Parallel()
	flags := linkFlags()
	for _, want := range []string{
		"component-base/version.gitVersion=" + Kubernetes,
		"component-base/version.gitMajor=1 ",
		"component-base/version.gitMinor=36 ",
		"client-go/pkg/version.gitVersion=" + Kubernetes,
	} {
		if !strings.Contains(flags+" ", want) {
			t.Errorf("no %q in %s", want, flags)
		}
	}
}

func TestADownloadIsTriedAgainAndABuildIsNot(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]int{
		"reading https://mirror/x.zip: 503 Service Unavailable":     4,
		"x@v1: read tcp 10.0.0.1:1->10.0.0.2:443: connection reset": 4,
		"./main.go:3:15: undefined: nothing":                        1,
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := again(t.Context(), func() error { tries++; return errors.New(said) })
			if tries != want || err == nil {
				t.Errorf("%s: %d tries, %v", said, tries, err)
			}
		})
	}
}

func TestTheLockWaitsAndGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if _, err := Lock(short, path); err == nil {
		t.Fatal("two have the lock")
	}
	unlock()
	again, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestExportedProgramsAreWholeAndExecutable(t *testing.T) {
	t.Parallel()
	bin, out := t.TempDir(), filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(filepath.Join(bin, "etcd"), []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Export(bin, out, []string{"etcd"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(out, "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 || info.Size() != 7 {
		t.Errorf("mode %v, size %d", info.Mode(), info.Size())
	}
	if err := Export(bin, out, []string{"none"}); err == nil {
		t.Error("a missing program is no error")
	}
}

func TestWhatWasNotUsedForLongIsRemovedAndNothingElse(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	long := time.Now().Add(-unused - time.Hour)
	for _, name := range []string{"0123456789abcdef", "1123456789abcdef", "2123456789abcdef", "image"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(path, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if !Use(filepath.Join(root, "1123456789abcdef")) || Use(filepath.Join(root, "none")) {
		t.Fatal("use tells what is there")
	}
	if err := Prune(root, sets, filepath.Join(root, "2123456789abcdef")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "1123456789abcdef 2123456789abcdef image" {
		t.Errorf("left %s", got)
	}
}
