package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
)

// piped runs a command line with something on its input.
func piped(ctx context.Context, stdin string, args ...string) result {
	var out, errs bytes.Buffer
	root := New("test")
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(stdin))
	code := execute(ctx, root, args)
	return result{code, out.String(), errs.String()}
}

// inline is a file of one context that needs no other file.
func inline(t *testing.T, name, hub, dir string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "currentContext: %s\ncontexts:\n  - name: %[1]s\n    hub: %s\n", name, hub)
	for key, file := range map[string]string{"caData": "ca.pem", "certData": "cert.pem", "keyData": "key.pem"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "    %s: |\n      %s\n", key, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n      "))
	}
	return b.String()
}

func TestAnImportedContextNeedsNoOtherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	t.Setenv(configVariable, path)
	authority := identitytest.New(t, "example.org")
	address := serve(t, &fakeHub{jobs: sampleJobs()}, authority, func(identity.Peer) error { return nil })
	got := piped(t.Context(), inline(t, "prod", address, admin(t, authority, authority, time.Hour)), "config", "import", "-")
	if want := fmt.Sprintf("context \"prod\" imported: %s, and is current\n", address); got.code != ExitOK || got.out != want {
		t.Fatalf("exit %d: %s%s, want %s", got.code, got.out, got.err, want)
	}
	if got := process(t.Context(), "get", "jobs"); got.code != ExitOK || !strings.Contains(got.out, "clicks") {
		t.Errorf("exit %d: %s%s", got.code, got.out, got.err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a key for everybody: %v, %v", info.Mode(), err)
	}
	// What is chosen by files later takes the place of what is written out.
	other := admin(t, authority, authority, time.Hour)
	if got := process(t.Context(), "config", "set-context", "prod", "--identity", other); got.code != ExitOK {
		t.Fatal(got.err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "Data:") || !strings.Contains(string(text), filepath.Join(other, "key.pem")) {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestImportTakesNothingAwayAndNothingHalf(t *testing.T) {
	t.Setenv(configVariable, filepath.Join(t.TempDir(), "config.yaml"))
	authority := identitytest.New(t, "example.org")
	dir := admin(t, authority, authority, time.Hour)
	one, two := inline(t, "a", "one:1", dir), inline(t, "a", "two:2", dir)
	beside := filepath.Join(dir, "config.yaml")
	named := "contexts:\n  - {name: files, hub: \"h:1\", caFile: ca.pem, certFile: cert.pem, keyFile: key.pem}\n"
	if err := os.WriteFile(beside, []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		stdin string
		args  string
		code  int
		says  string
	}{
		{one, "config import -", ExitOK, `"a" imported: one:1, and is current`},
		{one, "config import -", ExitOK, "imported"}, // the same again
		{two, "config import -", ExitConflict, "--replace"},
		{two, "config import - --name b", ExitOK, `"b" imported: two:2` + "\n"},
		{"", "config current-context", ExitOK, "a\n"},
		{two, "config import - --name b --use", ExitOK, "and is current"},
		{two, "config import - --replace", ExitOK, `"a" imported: two:2` + "\n"},
		{"", "config import " + beside, ExitOK, `"files" imported`},
		{named, "config import -", ExitUsage, "name the file instead"},
		{"", "config import -", ExitUsage, "no contexts in stdin"},
		{"contexts:\n  - {name: x, hub: \"h:1\"}\n", "config import -", ExitUsage, "not complete"},
		{"contexts:\n  - {nam: x}\n", "config import -", ExitError, "nam"},
		{"", "config import " + filepath.Join(dir, "nothing"), ExitError, "no such file"},
	} {
		got := piped(t.Context(), step.stdin, strings.Fields(step.args)...)
		if got.code != step.code || !strings.Contains(got.out+got.err, step.says) {
			t.Errorf("%s: exit %d, want %d with %q: %s%s", step.args, got.code, step.code, step.says, got.out, got.err)
		}
	}
	cfg, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cfg.Find("files")
	if err != nil || c.KeyFile != filepath.Join(dir, "key.pem") {
		t.Errorf("%+v, %v: want the path made absolute", c, err)
	}
}
