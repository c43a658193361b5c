package source

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/waterwheel-io/waterwheel/e2e/kind"

// Dir returns the directory of this module.
func Dir(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", Module)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of %s (run this from within that module): %w", Module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Node returns the directory of the module that builds nodes.
func Node(ctx context.Context) (string, error) {
	dir, err := Dir(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(dir), "node"), nil
}

// Root returns the directory of the checkout.
func Root(ctx context.Context) (string, error) {
	dir, err := Dir(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(dir)), nil
}
