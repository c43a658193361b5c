package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kubectl that is answered at the third time.
const third = `#!/bin/sh
echo x >> "$0.asked"
case "$(cat "$0.asked")" in "x
x
x") cat; exit 0;; esac
echo "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?" >&2; exit 1
`

func TestAnAPIServerThatIsRestartedIsWaitedFor(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "bin", "kubectl-v9")
	c := &Cluster{dir: t.TempDir()}
	if err := errors.Join(os.MkdirAll(filepath.Dir(bin), 0o755), os.WriteFile(filepath.Join(c.dir, "version"), []byte("v9"), 0o600),
		os.WriteFile(bin, []byte(third), 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(t.Context(), "get", "nodes", "--request-timeout=1s"); err == nil {
		t.Error("a request that is limited was tried again")
	}
	if out, err := c.KubectlWith(t.Context(), strings.NewReader("manifest"), "apply", "-f", "-"); err != nil || out != "manifest" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestWhatTheServerSaysIsNotAskedAgain(t *testing.T) {
	for said, want := range map[string]bool{
		"Unable to connect to the server: net/http: TLS handshake timeout":              true,
		"Error from server: etcdserver: request timed out":                              true,
		`Error from server (NotFound): services "x" not found`:                          false,
		"error: timed out waiting for the condition":                                    false,
		"kubectl get: " + context.Canceled.Error():                                      false,
		`Error from server (Forbidden): pods is forbidden: User "x" cannot list "pods"`: false,
	} {
		if got := away(errors.New(said)); got != want {
			t.Errorf("away(%q) = %t", said, got)
		}
	}
}
