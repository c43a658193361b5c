package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DumpArtifacts writes what tells why something failed below dir: every object
// but Secrets, events, pods described, the logs of all containers and of the
// node. It does as much as it can; the error names the rest.
func (c *Cluster) DumpArtifacts(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	errs := []error{c.provider.CollectLogs(c.Name, filepath.Join(dir, "node"))}
	for name, args := range map[string][]string{
		"pods.txt":     {"get", "pods", "-A", "-o", "wide"},
		"describe.txt": {"describe", "pods", "-A"},
		"events.txt":   {"get", "events", "-A", "--sort-by=.metadata.creationTimestamp", "-o", "wide"},
		"nodes.txt":    {"describe", "nodes"},
	} {
		errs = append(errs, c.keepOutput(ctx, filepath.Join(dir, name), args...))
	}
	kinds, err := c.Kubectl(ctx, "api-resources", "--verbs=list", "-o", "name", "--request-timeout=10s")
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	all := strings.Join(dumped(strings.Fields(kinds)), ",")
	errs = append(errs, c.keepOutput(ctx, filepath.Join(dir, "objects.yaml"), "get", all, "-A", "-o", "yaml", "--ignore-not-found"))
	return errors.Join(errs...)
}

// dumped leaves out what is secret, and what is written elsewhere.
func dumped(kinds []string) []string {
	return slices.DeleteFunc(kinds, func(kind string) bool {
		return kind == "secrets" || strings.HasPrefix(kind, "events") || strings.HasPrefix(kind, "componentstatuses")
	})
}

func (c *Cluster) keepOutput(ctx context.Context, path string, args ...string) error {
	out, err := c.Kubectl(ctx, append(args, "--request-timeout=10s")...)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", filepath.Base(path), err)
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(path, []byte(out), 0o644)
}
