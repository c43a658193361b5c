package storage

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
)

// The server is built in a module of its own: its dependencies are nobody
// else's. The pinned version stands in gateway.mod.
//
//go:embed gateway.mod
var gatewayMod []byte

//go:embed gateway.sum
var gatewaySum []byte

const gatewayCommand = "github.com/versity/versitygw/cmd/versitygw"

// Gateway returns the server's binary. The first time on a machine it is
// compiled, which takes some minutes of all cores: begin early.
func Gateway(ctx context.Context, log *slog.Logger) (path string, err error) {
	dir, err := cache.Dir("storage")
	if err != nil {
		return "", fmt.Errorf("build the object storage: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s", runtime.Version(), runtime.GOARCH, gatewayMod, gatewaySum)
	path = filepath.Join(dir, fmt.Sprintf("versitygw-%x", h.Sum(nil)[:6]))
	began := time.Now()
	cached, err := cache.Fill(ctx, path, func(ctx context.Context, temporary string) error {
		log.InfoContext(ctx, "building the object storage, which takes minutes the first time")
		return buildGateway(ctx, temporary)
	})
	if err != nil {
		return "", fmt.Errorf("build the object storage: %w", err)
	}
	if !cached {
		log.InfoContext(ctx, "object storage built", "seconds", time.Since(began).Seconds())
	}
	return path, nil
}

func buildGateway(ctx context.Context, out string) error {
	dir := out + ".module"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string][]byte{"go.mod": gatewayMod, "go.sum": gatewaySum} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", out, gatewayCommand)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	cmd.WaitDelay = 5 * time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}
