package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

func TestContainerdIsFittedOrTheBuildFails(t *testing.T) {
	t.Parallel()
	const known = "# explicit\nversion = 2\n\n[proxy_plugins]\n  restrict_oom_score_adj = false\n"
	got, err := fitContainerd(known)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"restrict_oom_score_adj = true", `disabled_plugins = ["io.containerd.differ.v1.erofs","io.containerd.snapshotter.v1.erofs"]`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	// a table would swallow a key that comes after it
	if strings.Index(got, "disabled_plugins") > strings.Index(got, "[proxy_plugins]") {
		t.Errorf("disabled_plugins is in a table: %s", got)
	}
	for _, other := range []string{"", "version = 3\nrestrict_oom_score_adj = false\n", known + known} {
		if _, err := fitContainerd(other); err == nil {
			t.Errorf("%q: an unknown configuration passes", other)
		}
	}
}

func TestTheConflistIsOfOneNodesPods(t *testing.T) {
	t.Parallel()
	b, err := conflist()
	if err != nil {
		t.Fatal(err)
	}
	var conf struct {
		Plugins []struct {
			Type string
			IPAM struct {
				Type   string
				Ranges [][]struct{ Subnet string }
			}
			Capabilities map[string]bool
		}
	}
	if err := json.Unmarshal(b, &conf); err != nil {
		t.Fatal(err)
	}
	if len(conf.Plugins) != 2 || conf.Plugins[0].Type != "ptp" || conf.Plugins[0].IPAM.Type != "host-local" {
		t.Fatalf("plugins %+v", conf.Plugins)
	}
	if got := conf.Plugins[0].IPAM.Ranges[0][0].Subnet; got != PodSubnet {
		t.Errorf("subnet %s, want %s", got, PodSubnet)
	}
	if !conf.Plugins[1].Capabilities["portMappings"] {
		t.Error("no port mappings")
	}
}

func TestTheRuntimeSpecHasKindsHookAndNoLimits(t *testing.T) {
	t.Parallel()
	out, err := hookSpec([]byte(`{"process":{"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE"}]},"hooks":{"createContainer":[{"path":"/first"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Process map[string]any
		Hooks   struct{ CreateContainer []struct{ Path string } }
	}
	if err := json.Unmarshal(out, &spec); err != nil {
		t.Fatal(err)
	}
	if _, ok := spec.Process["rlimits"]; ok || spec.Process["cwd"] != "/" {
		t.Errorf("process %v", spec.Process)
	}
	if h := spec.Hooks.CreateContainer; len(h) != 2 || h[0].Path != "/first" || h[1].Path != "/kind/bin/mount-product-files.sh" {
		t.Errorf("hooks %v", h)
	}
	for _, bad := range []string{"", "{}", `{"process":1}`} {
		if _, err := hookSpec([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestALayerIsTheSameInWhateverOrderItsFilesCome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "p")
	if err := os.WriteFile(program, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []file{
		{From: program, To: "usr/sbin/nft", Mode: 0o755},
		{To: "usr/sbin/iptables", Link: "xtables-nft-multi"},
		{From: program, To: "lib64/ld.so", Mode: 0o755},
	}
	var one, two bytes.Buffer
	if err := writeTar(&one, files); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	if err := os.Chtimes(program, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := writeTar(&two, files); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two layers of the same files differ")
	}
	var names []string
	for tr := tar.NewReader(&one); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Typeflag == tar.TypeReg && h.Mode != 0o755 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
	}
	want := []string{"lib64/", "lib64/ld.so", "usr/", "usr/sbin/", "usr/sbin/iptables", "usr/sbin/nft"}
	if !slices.Equal(names, want) {
		t.Errorf("entries %q, want %q", names, want)
	}
}

func TestAnotherRecipeIsAnotherImageAndItsTestsAreNoPart(t *testing.T) {
	t.Parallel()
	key := func(recipe fstest.MapFS, graph fstest.MapFS) string {
		t.Helper()
		b := &Builder{Programs: &programs.Cache{Graph: graph}, Recipe: recipe}
		k, err := b.key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	graph := fstest.MapFS{"go.mod": file("module x")}
	base := key(fstest.MapFS{"a.go": file("1")}, graph)
	if got := key(fstest.MapFS{"a.go": file("1"), "a_test.go": file("2")}, graph); got != base {
		t.Error("a test makes another image")
	}
	if got := key(fstest.MapFS{"a.go": file("2")}, graph); got == base {
		t.Error("another recipe makes the same image")
	}
	if got := key(fstest.MapFS{"a.go": file("1")}, fstest.MapFS{"go.mod": file("module y")}); got == base {
		t.Error("other programs make the same image")
	}
}

func TestStepsEndAtTheFirstThatFails(t *testing.T) {
	t.Parallel()
	var said []string
	b := &Builder{Progress: func(line string) { said = append(said, line) }}
	broken := errors.New("broken")
	ran := 0
	err := b.follow(t.Context(), []step{
		{"one", time.Second, func(context.Context) error { ran++; return nil }},
		{"two", time.Second, func(context.Context) error { ran++; return broken }},
		{"three", time.Second, func(context.Context) error { ran++; return nil }},
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "two") || ran != 2 {
		t.Errorf("error %v after %d steps", err, ran)
	}
	if !slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "next: two") }) {
		t.Errorf("nothing said of what comes next: %q", said)
	}
}

func TestMountsThatAKilledBuildLeftAreFoundOuterFirst(t *testing.T) {
	t.Parallel()
	info := "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /c/half-1/debian/proc rw - proc p rw\n" +
		"3 2 0:3 / /c/half-1/debian/proc/x rw - tmpfs t rw\n4 1 0:4 / /c/half-12 rw - tmpfs t rw\n"
	want := []string{"/c/half-1/debian/proc", "/c/half-1/debian/proc/x"}
	if got := mountsBelow([]byte(info), "/c/half-1"); !slices.Equal(got, want) {
		t.Errorf("mounts %q, want %q", got, want)
	}
}
