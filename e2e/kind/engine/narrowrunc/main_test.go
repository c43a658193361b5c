package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryFormOfTheFlagsIsSeen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"create, two words": {[]string{"--root", "/r", "create", "--bundle", "/b", "--pid-file", "/p", "id"}, []string{"/b/config.json"}},
		"create, one word":  {[]string{"create", "--bundle=/b", "id"}, []string{"/b/config.json"}},
		"short":             {[]string{"run", "-b", "/b", "id"}, []string{"/b/config.json"}},
		"exec":              {[]string{"exec", "--process", "/tmp/p.json", "--detach", "id"}, []string{"/tmp/p.json"}},
		"no document":       {[]string{"--root", "/r", "state", "id"}, nil},
		"flag without word": {[]string{"create", "--bundle"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := documents(tc.args); !slices.Equal(got, tc.want) {
				t.Errorf("documents %q, want %q", got, tc.want)
			}
		})
	}
}

const sets = `{"bounding":["CAP_KILL","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"],"permitted":["CAP_KILL"]}`

func TestTheCapabilityIsTakenOutAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"bundle": `{"process":{"capabilities":` + sets + `,"args":["echo","CAP_SYS_RESOURCE"]},"linux":{"resources":{"memory":{"limit":9007199254740993}}}}`,
		"exec":   `{"capabilities":` + sets + `,"args":["echo","CAP_SYS_RESOURCE"],"limit":9007199254740993}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, changed := narrow([]byte(doc))
			if !changed {
				t.Fatal("nothing changed")
			}
			got := string(out)
			if strings.Count(got, withheld) != 1 || !strings.Contains(got, `["echo","CAP_SYS_RESOURCE"]`) {
				t.Errorf("the arguments alone may name it: %s", got)
			}
			if !strings.Contains(got, `"effective":[]`) || !strings.Contains(got, `"permitted":["CAP_KILL"]`) {
				t.Errorf("sets: %s", got)
			}
			if !strings.Contains(got, "9007199254740993") {
				t.Errorf("a number lost digits: %s", got)
			}
			if _, again := narrow(out); again {
				t.Error("a second time changes it again")
			}
		})
	}
}

func TestWhatIsNoDocumentStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "{}", "CAP_SYS_RESOURCE", `{"process":"CAP_SYS_RESOURCE"}`, `["CAP_SYS_RESOURCE"]`} {
		if _, changed := narrow([]byte(doc)); changed {
			t.Errorf("%q was changed", doc)
		}
	}
	if err := narrowFile(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("a file that is not there: %v; runc is to say it", err)
	}
}

func TestAFileKeepsItsMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"capabilities":`+sets+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := narrowFile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || strings.Contains(string(b), withheld) {
		t.Errorf("mode %v, content %s", info.Mode(), b)
	}
}
