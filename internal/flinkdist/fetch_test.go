package flinkdist

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// files of a made-up distribution, by their path in the archive.
func contents(lib, version string) map[string]string {
	return map[string]string{
		lib + "/flink-dist-" + version + ".jar": "dist " + version,
		lib + "/log4j-api.jar":                  "log4j",
		lib + "/README.txt":                     "no jar",
		lib + "/deeper/other.jar":               "not directly in lib",
		"pyflink/opt/flink-python.jar":          "not in lib",
		"../../evil.jar":                        "outside",
	}
}

func wheel(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sdist(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// world is a table of one release and the registry that has it.
type world struct {
	table     []release
	bytes     []byte
	downloads atomic.Int32
}

func wheelWorld(t *testing.T) *world {
	t.Helper()
	b := wheel(t, contents("pyflink/lib", "9.1.2"))
	return &world{bytes: b, table: []release{{version: "9.1.2", archive: Archive{File: "f.whl", Bytes: int64(len(b)), SHA256: sum(b), lib: "pyflink/lib"}}}}
}

func sdistWorld(t *testing.T) *world {
	t.Helper()
	b := sdist(t, contents("x-9.1.2/deps/lib", "9.1.2"))
	return &world{bytes: b, table: []release{{version: "9.1.2", archive: Archive{File: "f.tar.gz", Bytes: int64(len(b)), SHA256: sum(b), lib: "x-9.1.2/deps/lib"}}}}
}

func (w *world) download(_ context.Context, a Archive, dir string) (string, error) {
	w.downloads.Add(1)
	path := filepath.Join(dir, a.File)
	return path, os.WriteFile(path, w.bytes, 0o600)
}

func (w *world) fetcher(t *testing.T, opts Options) *fetcher {
	t.Helper()
	opts.Version = "9.1"
	if opts.Getenv == nil {
		opts.Getenv = func(string) string { return "" }
	}
	if opts.Download == nil {
		opts.Download = w.download
	}
	f, err := newFetcher(opts, w.table)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// names lists what lies in dir, sorted.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFetchUnpacksOnlyTheJarsOfLibThenFindsThemCached(t *testing.T) {
	for name, w := range map[string]*world{"wheel": wheelWorld(t), "sdist": sdistWorld(t)} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			d, err := w.fetcher(t, Options{CacheDir: cache}).fetch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			home := filepath.Join(cache, "flink", "9.1.2")
			if want := (Dist{Version: "9.1.2", Home: home, Lib: filepath.Join(home, "lib")}); d != want {
				t.Errorf("got %+v, want %+v", d, want)
			}
			if got, want := names(t, d.Lib), []string{"flink-dist-9.1.2.jar", "log4j-api.jar"}; !slices.Equal(got, want) {
				t.Errorf("lib holds %v, want %v", got, want)
			}
			if b, err := os.ReadFile(filepath.Join(d.Lib, "flink-dist-9.1.2.jar")); err != nil || string(b) != "dist 9.1.2" {
				t.Errorf("jar holds %q, %v", b, err)
			}
			if got, want := names(t, filepath.Dir(home)), []string{"9.1.2", "9.1.2.lock"}; !slices.Equal(got, want) {
				t.Errorf("cache holds %v, want %v: the archive must go", got, want)
			}
			again, err := w.fetcher(t, Options{CacheDir: cache}).fetch(t.Context())
			if err != nil || !again.Cached || again.Home != home || w.downloads.Load() != 1 {
				t.Errorf("second fetch: %+v, %v, downloads %d", again, err, w.downloads.Load())
			}
		})
	}
}

func TestAFailedFetchLeavesNothingInTheCache(t *testing.T) {
	broken := wheel(t, map[string]string{"pyflink/lib/other.jar": "no flink in it"})
	for name, tc := range map[string]struct {
		bytes []byte
		sum   string
		err   error
		want  string
	}{
		"wrong checksum":  {bytes: []byte("not what was pinned"), want: "wrong checksum"},
		"not an archive":  {bytes: []byte("no zip"), sum: sum([]byte("no zip")), want: "unpack f.whl"},
		"no flink in it":  {bytes: broken, sum: sum(broken), want: "no lib/flink-dist-9.1.2.jar"},
		"download failed": {err: errors.New("registry is away"), want: "fetch flink 9.1.2: registry is away"},
	} {
		t.Run(name, func(t *testing.T) {
			w := wheelWorld(t)
			w.bytes = tc.bytes
			if tc.sum != "" {
				w.table[0].archive.SHA256 = tc.sum
			}
			opts := Options{CacheDir: t.TempDir()}
			if tc.err != nil {
				opts.Download = func(context.Context, Archive, string) (string, error) { return "", tc.err }
			}
			f := w.fetcher(t, opts)
			_, err := f.fetch(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %v, want one line with %q", err, tc.want)
			}
			if got, want := names(t, f.root), []string{"9.1.2.lock"}; !slices.Equal(got, want) {
				t.Errorf("cache holds %v, want %v", got, want)
			}
			if _, ok, err := f.present(); ok || err != nil {
				t.Errorf("present after a failure: %v, %v", ok, err)
			}
		})
	}
}

func TestADownloadThatFailsIsTriedAgainFromNothing(t *testing.T) {
	for name, first := range map[string]func(w *world, a Archive, dir string) (string, error){
		"broken off": func(_ *world, a Archive, dir string) (string, error) {
			return "", errors.Join(errors.New("connection reset"), os.WriteFile(filepath.Join(dir, a.File), []byte("hal"), 0o400))
		},
		"cut short": func(w *world, a Archive, dir string) (string, error) {
			path := filepath.Join(dir, a.File)
			return path, os.WriteFile(path, w.bytes[:10], 0o400)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, tries := wheelWorld(t), 0
			f := w.fetcher(t, Options{CacheDir: t.TempDir(), Download: func(ctx context.Context, a Archive, dir string) (string, error) {
				if tries++; tries == 1 {
					return first(w, a, dir)
				}
				return w.download(ctx, a, dir)
			}})
			f.pauses = []time.Duration{time.Millisecond}
			if _, err := f.fetch(t.Context()); err != nil || tries != 2 {
				t.Errorf("%d tries, %v", tries, err)
			}
		})
	}
}

func TestConcurrentFetchesDownloadOnce(t *testing.T) {
	w, cache := wheelWorld(t), t.TempDir()
	var wg sync.WaitGroup
	homes := make([]string, 8)
	for i := range homes {
		wg.Go(func() {
			d, err := w.fetcher(t, Options{CacheDir: cache}).fetch(t.Context())
			if err != nil {
				t.Error(err)
			}
			homes[i] = d.Home
		})
	}
	wg.Wait()
	if got := slices.Compact(homes); len(got) != 1 || w.downloads.Load() != 1 {
		t.Errorf("homes %v, downloads %d: want one of each", got, w.downloads.Load())
	}
}

// unpacked makes a home of that version by hand.
func unpacked(t *testing.T, version string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "lib", "flink-dist-"+version+".jar"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

func TestSourcesAreTriedInOrder(t *testing.T) {
	w, cache := wheelWorld(t), t.TempDir()
	if _, err := w.fetcher(t, Options{CacheDir: cache}).fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	cached := filepath.Join(cache, "flink", "9.1.2")
	env, given, other := unpacked(t, "9.1.2"), unpacked(t, "9.1.2"), unpacked(t, "1.0.0")
	for name, tc := range map[string]struct{ env, home, want, told, err string }{
		"FLINK_HOME wins over all":             {env: env, home: given, want: env},
		"then the directory that was named":    {home: given, want: given},
		"then the cache":                       {want: cached},
		"FLINK_HOME of another version is not": {env: other, want: cached, told: "is not Flink 9.1.2"},
		"a named directory must fit":           {home: other, err: "is not an unpacked Flink 9.1.2"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			f := w.fetcher(t, Options{
				CacheDir: cache, Home: tc.home,
				Progress: func(s string) { told = append(told, s) },
				Getenv:   func(k string) string { return map[string]string{"FLINK_HOME": tc.env}[k] },
			})
			d, err := f.fetch(t.Context())
			if d.Home != tc.want || !strings.Contains(strings.Join(told, "\n"), tc.told) {
				t.Errorf("got %+v, told %q; want home %q, told %q", d, told, tc.want, tc.told)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got error %v, want %q", err, tc.err)
			}
			if tc.err == "" && !d.Cached {
				t.Error("not marked as cached")
			}
		})
	}
	if n := w.downloads.Load(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
}

func TestFetchRepairsWhatAKilledProcessOrAHandLeft(t *testing.T) {
	w := wheelWorld(t)
	f := w.fetcher(t, Options{CacheDir: t.TempDir()})
	for _, dir := range []string{".fetch-9.1.2-killed/tmp", "9.1.2/lib"} {
		if err := os.MkdirAll(filepath.Join(f.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := f.present(); ok || err != nil {
		t.Fatalf("an empty lib counts as a distribution: %v %v", ok, err)
	}
	if _, err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, f.root), []string{"9.1.2", "9.1.2.lock"}; !slices.Equal(got, want) {
		t.Errorf("cache holds %v, want %v", got, want)
	}
}

func TestWaitingForAnotherFetchEndsWithTheContext(t *testing.T) {
	w := wheelWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user lost patience")
	f := w.fetcher(t, Options{CacheDir: t.TempDir(), Progress: func(string) { cancel(why) }})
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(t.Context(), f.target()+".lock", func() { t.Error("waited for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := f.fetch(ctx); !errors.Is(err, why) || w.downloads.Load() != 0 {
		t.Errorf("got %v, %d downloads; want %v and none", err, w.downloads.Load(), why)
	}
}

func TestPinnedTakesFullAndMinorVersions(t *testing.T) {
	table := []release{{version: "1.20.4"}, {version: "1.20.5"}, {version: "2.3.0"}}
	for in, want := range map[string]string{
		"1.20": "1.20.5", "1.20.4": "1.20.4", "2.3": "2.3.0", "2.3.0": "2.3.0",
		"2": "", "1.2": "", "1.20.6": "", "": "", "1.20.": "",
	} {
		r, err := find(table, in)
		if r.version != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, r.version, err, want)
		}
	}
	_, err := find(table, "3.0")
	if err == nil || !strings.Contains(err.Error(), "1.20.4, 1.20.5, 2.3.0") {
		t.Errorf("error does not list the known versions: %v", err)
	}
}

func TestEveryPinnedReleaseIsWellFormed(t *testing.T) {
	for _, r := range releases {
		a := r.archive
		if b, err := hex.DecodeString(a.SHA256); err != nil || len(b) != sha256.Size {
			t.Errorf("%s: checksum %q", r.version, a.SHA256)
		}
		if !strings.HasSuffix(a.Requirement, "=="+r.version) || !strings.Contains(a.File, r.version) || a.lib == "" || a.Bytes == 0 {
			t.Errorf("%s: archive %+v", r.version, a)
		}
		jars, err := parseJars(r.maven)
		if err != nil {
			t.Errorf("%s: %v", r.version, err)
		}
		if r.maven != "" && !slices.ContainsFunc(jars, func(j jar) bool { return j.file() == "flink-runtime-"+r.version+".jar" }) {
			t.Errorf("%s: no flink-runtime among the jars", r.version)
		}
	}
}
