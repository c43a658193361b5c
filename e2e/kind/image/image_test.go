package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// home writes files of a made-up distribution, with the times of when it runs.
func home(t *testing.T) tree {
	t.Helper()
	dir := t.TempDir()
	made := tree{"opt/flink/conf": {}, "tmp": {mode: 0o777 | fs.ModeSticky}, "bin": {link: "usr/bin"}, "etc/passwd": {mode: 0o644, content: "root"}}
	for _, jar := range []string{"b.jar", "a.jar", "c.jar"} {
		source := filepath.Join(dir, jar)
		if err := os.WriteFile(source, bytes.Repeat([]byte(jar), 100_000), 0o600); err != nil {
			t.Fatal(err)
		}
		made["opt/flink/lib/"+jar] = node{mode: 0o644, source: source}
	}
	return made
}

func TestTwoBuildsAreOneArchive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var sums []string
	for range 2 {
		p, err := treePart("a home", home(t))
		if err != nil {
			t.Fatal(err)
		}
		a, err := archive(t.Context(), slog.New(slog.DiscardHandler), "made-up", v1.Config{User: "9999:9999"}, p)
		if err != nil {
			t.Fatal(err)
		}
		if a.Cached {
			t.Error("the first cache is not empty")
		}
		b, err := os.ReadFile(a.Path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		sums = append(sums, a.Ref+" "+hex.EncodeToString(sum[:]))
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds differ:\n%s\n%s", sums[0], sums[1])
	}
}

func TestTheReferenceNamesTheContent(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	build := func(h tree, config v1.Config) Archive {
		t.Helper()
		p, err := treePart("a home", h)
		if err != nil {
			t.Fatal(err)
		}
		a, err := archive(t.Context(), slog.New(slog.DiscardHandler), "made-up", config, p)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	h := home(t)
	first, again := build(h, v1.Config{}), build(h, v1.Config{})
	if first.Path != again.Path || !again.Cached || again.Bytes != first.Bytes {
		t.Errorf("the same again: %+v, then %+v", first, again)
	}
	if other := build(h, v1.Config{User: "1"}); other.Ref == first.Ref {
		t.Error("another user, the same reference")
	}
	h["etc/passwd"] = node{mode: 0o644, content: "flink"}
	if other := build(h, v1.Config{}); other.Ref == first.Ref || other.Cached {
		t.Error("other content, the same reference")
	}
	if strings.HasSuffix(first.Ref, ":latest") || !strings.HasPrefix(first.Ref, "made-up:") {
		t.Errorf("reference %q", first.Ref)
	}
}

func TestTheArchiveIsAValidImage(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	low, err := treePart("a home", home(t))
	if err != nil {
		t.Fatal(err)
	}
	top, err := treePart("a job", tree{"opt/flink/usrlib/ledger.jar": {mode: 0o644, content: "jar"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive(t.Context(), slog.New(slog.DiscardHandler), "made-up", v1.Config{User: "9999:9999", WorkingDir: "/opt/flink"}, low, top)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(a.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "9999:9999" || config.OS != "linux" || len(config.RootFS.DiffIDs) != 2 || config.History[1].CreatedBy != "a job" {
		t.Errorf("config: %+v", config)
	}
}

func TestEntriesAreSortedAndOfNoTimeOrOwner(t *testing.T) {
	var b bytes.Buffer
	if err := home(t).write(&b); err != nil {
		t.Fatal(err)
	}
	var names []string
	modes := map[string]int64{}
	for in := tar.NewReader(&b); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		names = append(names, h.Name)
		modes[h.Name] = h.Mode
	}
	want := []string{
		"bin", "etc/", "etc/passwd", "opt/", "opt/flink/", "opt/flink/conf/", "opt/flink/lib/",
		"opt/flink/lib/a.jar", "opt/flink/lib/b.jar", "opt/flink/lib/c.jar", "tmp/",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got  %v\nwant %v", names, want)
	}
	if modes["tmp/"] != 0o1777 || modes["opt/"] != 0o755 || modes["opt/flink/lib/a.jar"] != 0o644 {
		t.Errorf("modes: %v", modes)
	}
}

func TestALayerIsReadAgainAndGivenUp(t *testing.T) {
	l, err := newLayer(home(t).write)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, r)
		if err := errors.Join(err, r.Close()); err != nil || n != l.size || hex.EncodeToString(h.Sum(nil)) != l.hash.Hex {
			t.Errorf("read %d of %d bytes, %v", n, l.size, err)
		}
	}
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil { // returns only when the writer has ended
		t.Error(err)
	}
}

func TestAFileThatIsGoneIsAnErrorWithItsName(t *testing.T) {
	_, err := treePart("jars", tree{"opt/a.jar": {source: filepath.Join(t.TempDir(), "gone")}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "jars: opt/a.jar") {
		t.Errorf("got %v", err)
	}
}
