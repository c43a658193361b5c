package flinkdist

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script puts an executable of that name into dir. It may use shell builtins only.
func script(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPipIsAskedForThePinnedBytes(t *testing.T) {
	bin, seen := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("SEEN", seen)
	script(t, bin, "python3", `exit 1`) // a Python without pip
	script(t, bin, "pip3", `
case "$1" in --version) exit 0;; esac
while [ $# -gt 1 ]; do case "$1" in --dest) dest=$2;; --requirement) read -r line < "$2";; esac; shift; done
echo "$line" > "$SEEN/request"
echo "$TMPDIR" > "$SEEN/tmp"
printf 'not what was pinned' > "$dest/f.whl"
`)
	w := wheelWorld(t)
	w.table[0].archive.Requirement = "flink==9.1.2"
	f := w.fetcher(t, Options{CacheDir: t.TempDir()})
	f.Download = f.pip
	if _, err := f.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "wrong checksum") {
		t.Errorf("a pip that checks nothing was believed: %v", err)
	}
	request, err := os.ReadFile(filepath.Join(seen, "request"))
	if want := "flink==9.1.2 --hash=sha256:" + w.table[0].archive.SHA256 + "\n"; err != nil || string(request) != want {
		t.Errorf("asked for %q, %v; want %q", request, err, want)
	}
	if tmp, err := os.ReadFile(filepath.Join(seen, "tmp")); err != nil || !strings.HasPrefix(string(tmp), f.root) {
		t.Errorf("pip keeps unfinished files in %q, %v; want them in %s", tmp, err, f.root)
	}
}

func TestPipsOwnWordsAreInTheError(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	script(t, bin, "python3", `
case "$3" in --version) exit 0;; esac
echo Collecting; echo 'ERROR: no matching distribution' >&2; echo 'hint: none' >&2; exit 1
`)
	f := wheelWorld(t).fetcher(t, Options{CacheDir: t.TempDir()})
	f.Download = f.pip
	_, err := f.fetch(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 1: ERROR: no matching distribution") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAClientTheErrorSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, maven := range map[string]string{"archive only": "", "Maven too": "g:a:1 " + strings.Repeat("0", 40)} {
		w := wheelWorld(t)
		w.table[0].maven = maven
		f := w.fetcher(t, Options{CacheDir: t.TempDir()})
		f.Download = f.pip
		_, err := f.fetch(t.Context())
		if !errors.Is(err, ErrNoClient) || !strings.Contains(err.Error(), "install python3-pip") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMavenBringsExactlyTheListedJars(t *testing.T) {
	digest := sha1.Sum([]byte("runtime"))
	list := "# comment\norg.x:flink-runtime:9.1.2 " + hex.EncodeToString(digest[:]) + "\n"
	for name, tc := range map[string]struct{ body, err string }{
		"right":          {body: `printf runtime > "$lib/flink-runtime-9.1.2.jar"`},
		"wrong bytes":    {body: `printf other > "$lib/flink-runtime-9.1.2.jar"`, err: "wrong checksum"},
		"one too many":   {body: `printf runtime > "$lib/flink-runtime-9.1.2.jar"; : > "$lib/more.jar"`, err: "brought 2 files, want 1"},
		"refused":        {body: `echo '[ERROR] not in the mirror'; exit 1`, err: "[ERROR] not in the mirror"},
		"asked by a pom": {body: `while read -r l; do case "$l" in *flink-runtime*) printf runtime > "$lib/flink-runtime-9.1.2.jar";; esac; done < "$pom"`},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			t.Setenv("PATH", bin) // so there is no pip
			script(t, bin, "mvn", `
for a; do case "$a" in -DoutputDirectory=*) lib=${a#*=};; *pom.xml) pom=$a;; esac; done
`+tc.body)
			w := wheelWorld(t)
			w.table[0].maven = list
			f := w.fetcher(t, Options{CacheDir: t.TempDir()})
			f.Download = f.pip
			d, err := f.fetch(t.Context())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := names(t, d.Lib), []string{"flink-runtime-9.1.2.jar"}; !slices.Equal(got, want) {
				t.Errorf("lib holds %v, want %v", got, want)
			}
		})
	}
}

func TestABadJarListIsRefused(t *testing.T) {
	for _, line := range []string{"a:b 00", "a:b:c", "a:b:c:d " + strings.Repeat("0", 40), "a:b:c 12"} {
		if jars, err := parseJars(line); err == nil {
			t.Errorf("%q: got %v", line, jars)
		}
	}
}

// java puts a made-up Java into home, and a compiler if it has one.
func java(t *testing.T, home, version string, compiler bool) string {
	t.Helper()
	if compiler {
		script(t, home, "bin/javac", "")
	}
	return script(t, home, "bin/java", `
echo "Property settings:" >&2
echo "    java.home = `+home+`" >&2
echo "    java.specification.version = `+version+`" >&2
echo "    java.version = `+version+`.0.1" >&2
`)
}

func TestTheFirstJavaThatFitsIsTaken(t *testing.T) {
	root := t.TempDir()
	old, jre, jdk := filepath.Join(root, "8"), filepath.Join(root, "jre"), filepath.Join(root, "jdk")
	java(t, old, "1.8", true)
	java(t, jre, "21", false)
	java(t, jdk, "17", true)
	dead := filepath.Dir(script(t, root, "dead/java", "exit 1"))
	path := func(dirs ...string) string { return strings.Join(dirs, string(os.PathListSeparator)) }
	bin := func(home string) string { return filepath.Join(home, "bin") }
	for name, tc := range map[string]struct {
		home, path string
		need       Need
		want       JDK
		err        string
	}{
		"JAVA_HOME before PATH":      {home: jdk, path: bin(jre), want: JDK{jdk, bin(jdk) + "/java", bin(jdk) + "/javac", 17}},
		"a runtime runs Flink":       {home: jre, path: bin(jdk), want: JDK{jre, bin(jre) + "/java", "", 21}},
		"a compiler is looked for":   {home: jre, path: bin(jdk), need: Compiler, want: JDK{jdk, bin(jdk) + "/java", bin(jdk) + "/javac", 17}},
		"too old is passed over":     {home: old, path: path(dead, bin(jdk)), want: JDK{jdk, bin(jdk) + "/java", bin(jdk) + "/javac", 17}},
		"old alone":                  {home: old, err: "java is version 8"},
		"no compiler":                {path: bin(jre), need: Compiler, err: "no compiler beside it"},
		"none":                       {path: root, err: "none in JAVA_HOME or PATH"},
		"JAVA_HOME leads nowhere":    {home: filepath.Join(root, "gone"), path: bin(jre), want: JDK{jre, bin(jre) + "/java", "", 21}},
		"a java that does not start": {path: dead, err: "exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"JAVA_HOME": tc.home, "PATH": tc.path}
			got, err := FindJDK(t.Context(), tc.need, func(k string) string { return env[k] })
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if tc.err == "" && err != nil {
				t.Error(err)
			}
			if tc.err != "" && (!errors.Is(err, ErrNoJDK) || !strings.Contains(err.Error(), tc.err) ||
				!strings.Contains(err.Error(), "openjdk-17-jdk-headless") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got error %v, want one line with %q and what to install", err, tc.err)
			}
		})
	}
}

func TestAPluginIsThePinnedJarAndIsFetchedOnce(t *testing.T) {
	digest := sha1.Sum([]byte("plugin"))
	for name, tc := range map[string]struct{ body, err string }{
		"right":       {body: `printf plugin > "$lib/flink-s3-9.1.jar"; echo x >> "$SEEN"`},
		"wrong bytes": {body: `printf other > "$lib/flink-s3-9.1.jar"`, err: "wrong checksum"},
		"refused":     {body: `echo '[ERROR] not in the mirror'; exit 1`, err: "[ERROR] not in the mirror"},
		"no file":     {body: `:`, err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			bin, seen, cache := t.TempDir(), filepath.Join(t.TempDir(), "seen"), t.TempDir()
			t.Setenv("PATH", bin)
			t.Setenv("SEEN", seen)
			script(t, bin, "mvn", `for a; do case "$a" in -DoutputDirectory=*) lib=${a#*=};; esac; done`+"\n"+tc.body)
			w := wheelWorld(t)
			w.table[0].plugins = "g:flink-s3:9.1 " + hex.EncodeToString(digest[:])
			for range 2 {
				got, err := w.fetcher(t, Options{CacheDir: cache}).plugins(t.Context())
				if tc.err != "" {
					if err == nil || !strings.Contains(err.Error(), tc.err) {
						t.Fatalf("got %v, %v; want %q", got, err, tc.err)
					}
					continue
				}
				if err != nil || len(got) != 1 || got[0].Name != "s3" || filepath.Base(got[0].Jar) != "flink-s3-9.1.jar" {
					t.Fatalf("got %v, %v", got, err)
				}
				if b, err := os.ReadFile(got[0].Jar); err != nil || string(b) != "plugin" {
					t.Errorf("got %q, %v", b, err)
				}
			}
			if b, err := os.ReadFile(seen); tc.err == "" && (err != nil || string(b) != "x\n") {
				t.Errorf("mvn ran %q, %v; want once", b, err)
			}
			left, err := filepath.Glob(filepath.Join(cache, "flink", "plugins", "*", ".fetch-*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestWithoutMavenThePluginErrorSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	w := wheelWorld(t)
	w.table[0].plugins = "g:flink-s3:9.1 " + strings.Repeat("0", 40)
	_, err := w.fetcher(t, Options{CacheDir: t.TempDir()}).plugins(t.Context())
	if !errors.Is(err, ErrNoClient) || !strings.Contains(err.Error(), "install maven") {
		t.Errorf("got %v", err)
	}
}

func TestEveryReleaseHasItsPlugins(t *testing.T) {
	for _, r := range releases {
		jars, err := parseJars(r.plugins)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, j := range jars {
			got = append(got, j.artifact)
		}
		if want := []string{"flink-s3-fs-hadoop", "flink-metrics-prometheus"}; !slices.Equal(got, want) {
			t.Errorf("flink %s has %v, want %v", r.version, got, want)
		}
	}
}
