package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// binaries is a directory that has all the named ones; what is missing is built.
func binaries(ctx context.Context, names []string) (string, error) {
	if dir := os.Getenv("WATERWHEEL_KUBE_BIN"); dir != "" {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				return "", fmt.Errorf("WATERWHEEL_KUBE_BIN=%s: %w", dir, err)
			}
		}
		return dir, nil
	}
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", ".", "bin", "-out", "-"}, names...)...)
	cmd.Dir = module
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", strings.Join(names, ", "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// moduleDir is the directory of the module that builds Kubernetes, beside this package's.
func moduleDir() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("find the module that builds Kubernetes: no path of this source file")
	}
	dir := filepath.Join(filepath.Dir(file), "..", "node")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("find the module that builds Kubernetes: %w", err)
	}
	return dir, nil
}
