package world

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
)

// Missing names what a world needs and this machine has not made yet: what takes minutes once, and no time afterwards.
func Missing(versions []string) []string {
	needs := []struct{ what, in, pattern string }{
		{"a node image", "node", "image/*"},
		{"an object storage", "storage", "versitygw-*"},
		{"helm", "helm", "helm-*"},
	}
	for _, v := range versions {
		needs = append(needs, struct{ what, in, pattern string }{"an image of Flink " + v, "images", "waterwheel-flink-" + v + "*.tar"})
	}
	var missing []string
	for _, n := range needs {
		if !made(n.in, n.pattern) {
			missing = append(missing, n.what)
		}
	}
	return missing
}

// made reports whether a cache has a finished file of that pattern.
func made(in, pattern string) bool {
	dir, err := cache.Dir(in)
	if err != nil {
		return false
	}
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	return err == nil && slices.ContainsFunc(paths, func(p string) bool {
		return !strings.HasSuffix(p, ".lock") && !strings.Contains(filepath.Base(p), ".unfinished")
	})
}

// buildHelm makes the pinned helm, once.
func (b *Base) buildHelm(ctx context.Context) (string, error) {
	dir, err := cache.Dir("helm")
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(b.root, ".ci", "tools", "helm.sum"))
	if err != nil {
		return "", fmt.Errorf("build helm: %w", err)
	}
	hash := sha256.Sum256(sum)
	path := filepath.Join(dir, "helm-"+hex.EncodeToString(hash[:6]))
	_, err = cache.Fill(ctx, path, func(ctx context.Context, temporary string) error {
		b.Say("building helm, which takes minutes the first time")
		c := exec.CommandContext(ctx, "go", "build", "-modfile=.ci/tools/helm.mod", "-o", temporary, "helm.sh/helm/v4/cmd/helm")
		c.Dir = b.root
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("build helm: %w: %s", err, out)
		}
		return nil
	})
	return path, err
}
