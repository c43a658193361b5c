package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs kubectl against the cluster and returns its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlWith(ctx, nil, args...)
}

// KubectlWith is Kubectl with something to read, such as manifests for
// "apply -f -".
func (c *Cluster) KubectlWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	bin, err := c.KubectlBinary(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, bin, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[:min(len(args), 4)], " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// KubectlBinary returns the path of a kubectl of the cluster's version. It is the
// node's: each has one.
func (c *Cluster) KubectlBinary(ctx context.Context) (string, error) {
	version, err := c.version(ctx)
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "kubectl-"+version)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	half, err := os.MkdirTemp(filepath.Dir(path), ".half-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(half) }()
	copied := filepath.Join(half, "kubectl")
	if _, err := c.engine.Docker(ctx, "cp", c.NodeName+":/usr/bin/kubectl", copied); err != nil {
		return "", err
	}
	return path, os.Rename(copied, path)
}

// version is kept beside the kubeconfig, for the node may be paused later.
func (c *Cluster) version(ctx context.Context) (string, error) {
	kept := filepath.Join(c.dir, "version")
	if b, err := os.ReadFile(kept); err == nil {
		return string(b), nil
	}
	version, err := c.Exec(ctx, "cat", "/kind/version")
	if err != nil {
		return "", err
	}
	return version, os.WriteFile(kept, []byte(version), 0o644)
}
