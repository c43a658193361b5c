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
	"slices"
	"strings"
	"time"
)

// Kubectl runs kubectl against the cluster and returns its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlWith(ctx, nil, args...)
}

// KubectlWith is Kubectl with something to read, such as manifests for
// "apply -f -". An API server that cannot be reached is tried again for a minute,
// unless the arguments limit the request: on a busy machine one may be restarted.
func (c *Cluster) KubectlWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	bin, err := c.KubectlBinary(ctx)
	if err != nil {
		return "", err
	}
	var text []byte
	if in != nil {
		if text, err = io.ReadAll(in); err != nil {
			return "", err
		}
	}
	limited := slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--request-timeout") })
	enough := time.After(time.Minute)
	for {
		out, err := c.kubectl(ctx, bin, text, args)
		if err == nil || limited || !away(err) {
			return out, err
		}
		select {
		case <-enough:
			return out, err
		case <-ctx.Done():
			return out, err
		case <-time.After(time.Second):
		}
	}
}

func (c *Cluster) kubectl(ctx context.Context, bin string, text []byte, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, bin, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[:min(len(args), 4)], " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// away reports whether kubectl did not reach the API server, or that its etcd.
func away(err error) bool {
	said := err.Error()
	return slices.ContainsFunc([]string{
		"Unable to connect to the server", "The connection to the server", "TLS handshake timeout", "etcdserver: ",
		"the server is currently unable to handle the request", "connection reset by peer",
	}, func(word string) bool { return strings.Contains(said, word) })
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
