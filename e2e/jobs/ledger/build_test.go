package ledger

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// javac puts a made-up compiler into dir: it counts its runs in dir/runs and
// writes two class files.
func javac(t *testing.T, dir, body string) string {
	t.Helper()
	path := filepath.Join(dir, "javac")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const compiles = `
echo run >> "${0%/*}/runs"
while [ $# -gt 1 ]; do case "$1" in -d) out=$2;; esac; shift; done
mkdir -p "$out/dev/waterwheel/e2e"
echo main > "$out/dev/waterwheel/e2e/Ledger.class"
echo count > "$out/dev/waterwheel/e2e/Ledger\$Count.class"
`

func lib(t *testing.T, version string) string {
	t.Helper()
	return write(t, map[string]string{"flink-dist-" + version + ".jar": "x"})
}

func runs(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func TestBuildCachesByWhatTheJarIsMadeFrom(t *testing.T) {
	bin := t.TempDir()
	opts := Options{FlinkLib: lib(t, "1.20.5"), CacheDir: t.TempDir(), Javac: javac(t, bin, compiles)}
	jar, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	opts.FlinkLib = lib(t, "1.20.5")
	if again, err := Build(t.Context(), opts); err != nil || again != jar || runs(t, bin) != 1 {
		t.Errorf("the same again: %s, %v after %d runs; want %s after 1", again, err, runs(t, bin), jar)
	}
	opts.FlinkLib = lib(t, "2.3.0")
	if other, err := Build(t.Context(), opts); err != nil || other == jar || runs(t, bin) != 2 {
		t.Errorf("another Flink: %s, %v after %d runs", other, err, runs(t, bin))
	}
}

func TestTheJarNamesItsMainClassAndHoldsTheClasses(t *testing.T) {
	opts := Options{FlinkLib: lib(t, "1.20.5"), CacheDir: t.TempDir(), Javac: javac(t, t.TempDir(), compiles)}
	jar, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(jar)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	want := []string{"META-INF/MANIFEST.MF", "dev/waterwheel/e2e/Ledger$Count.class", "dev/waterwheel/e2e/Ledger.class"}
	if !slices.Equal(names, want) {
		t.Errorf("jar holds %v, want %v", names, want)
	}
	r, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(manifest), "Main-Class: "+MainClass+"\r\n") {
		t.Errorf("manifest %q, %v", manifest, err)
	}
	if !bytes.Contains(source, []byte("package dev.waterwheel.e2e;")) || !bytes.Contains(source, []byte("class Ledger ")) {
		t.Errorf("%s is not what the source declares", MainClass)
	}
}

func TestRacingBuildsGiveOneJarAndLeaveNothing(t *testing.T) {
	opts := Options{FlinkLib: lib(t, "1.20.5"), CacheDir: t.TempDir(), Javac: javac(t, t.TempDir(), compiles)}
	var wg sync.WaitGroup
	jars := make([]string, 4)
	for i := range jars {
		wg.Go(func() {
			var err error
			if jars[i], err = Build(t.Context(), opts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(filepath.Join(opts.CacheDir, "jobs"))
	if err != nil || len(slices.Compact(jars)) != 1 || len(left) != 1 {
		t.Errorf("jars %v, left %v, %v", jars, left, err)
	}
}

func TestAFailedBuildSaysWhyAndLeavesNothing(t *testing.T) {
	opts := Options{FlinkLib: lib(t, "1.20.5"), CacheDir: t.TempDir(), Javac: javac(t, t.TempDir(), "echo Ledger.java:7: no such class >&2; exit 1")}
	_, err := Build(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "Ledger.java:7: no such class") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(opts.CacheDir, "jobs")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	opts.FlinkLib = t.TempDir()
	if _, err := Build(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "no flink-dist jar") {
		t.Errorf("a lib without Flink: %v", err)
	}
}
