package dev

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// jars is an example of which the content changes.
func jars(t *testing.T, content *string) Example {
	return Example{Jar: "ledger.jar", Build: func(_ context.Context, lib, javac string) (string, error) {
		if filepath.Base(lib) != "lib" || filepath.Base(javac) != "javac" {
			t.Errorf("built with lib %q and compiler %q", lib, javac)
		}
		path := filepath.Join(t.TempDir(), "made.jar")
		return path, os.WriteFile(path, []byte(*content), 0o644)
	}}
}

func TestExamplesLieInUsrlibAndAreReplacedWhenTheyChange(t *testing.T) {
	s := newStage(t)
	content := "first"
	s.d.examples = []Example{jars(t, &content)}

	s.up(upOptions{clusters: 1})
	if !strings.Contains(s.out.String(), "no compiler") {
		t.Errorf("nothing is said of a missing compiler:\n%s", s.out)
	}
	jar := filepath.Join(s.d.at.usrlib(), "ledger.jar")
	if _, err := os.Stat(jar); err == nil {
		t.Error("a jar without a compiler")
	}

	javac := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "javac")
	if err := os.WriteFile(javac, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, content = range []string{"first", "second"} {
		s.up(upOptions{})
		if got, err := os.ReadFile(jar); err != nil || string(got) != content {
			t.Errorf("usrlib has %q, %v; want %q", got, err, content)
		}
	}
	before := must(os.Stat(jar))
	s.up(upOptions{})
	if after := must(os.Stat(jar)); !os.SameFile(before, after) {
		t.Error("an equal jar was replaced")
	}
	if err := s.d.down(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheDefaultWorldIsInTheUsersContexts(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	dir := must(resolve(filepath.Join(home, ".local", "share", "waterwheel", "dev")))
	if !layout(dir).isDefault() {
		t.Errorf("%s is not the default", dir)
	}
	if other := filepath.Join(home, "other"); layout(other).isDefault() {
		t.Errorf("%s is the default", other)
	}
}
