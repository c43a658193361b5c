package image

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
)

// module is the one whose commands the images hold.
const module = "github.com/waterwheel-io/waterwheel"

// Hub returns the image waterwheel-hub: the hub, and the command line by which
// its first start tells how to reach it.
func Hub(ctx context.Context, log *slog.Logger) (Archive, error) {
	return commands(ctx, log, "waterwheel-hub", "waterwheel-hub", "waterwheel")
}

// Agent returns the image waterwheel-agent.
func Agent(ctx context.Context, log *slog.Logger) (Archive, error) {
	return commands(ctx, log, "waterwheel-agent", "waterwheel-agent")
}

// commands makes an image of nothing but the module's commands of those names;
// the first is what it runs.
func commands(ctx context.Context, log *slog.Logger, repository string, names ...string) (Archive, error) {
	bin, err := cache.Dir(filepath.Join("images", "bin-"+runtime.GOARCH))
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	// Until the archive is written no other process builds into the directory.
	unlock, err := cache.Lock(ctx, bin+".lock")
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	defer unlock()
	if err := build(ctx, log, bin, names); err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	t := tree{
		"etc/passwd": {mode: 0o644, content: "root:x:0:0::/:/sbin/nologin\nwaterwheel:x:65532:65532::/:/sbin/nologin\n"},
		"etc/group":  {mode: 0o644, content: "root:x:0:\nwaterwheel:x:65532:\n"},
		"tmp":        {mode: 0o777 | os.ModeSticky},
	}
	for _, name := range names {
		t["usr/local/bin/"+name] = node{source: filepath.Join(bin, name)}
	}
	p, err := treePart(strings.Join(names, ", "), t)
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	return archive(ctx, log, repository, v1.Config{
		User:       "65532:65532",
		Env:        []string{"PATH=/usr/local/bin"},
		WorkingDir: "/",
		Entrypoint: []string{"/usr/local/bin/" + names[0]},
	}, p)
}

// build compiles the commands into the directory, where an unchanged one is not
// linked again.
func build(ctx context.Context, log *slog.Logger, bin string, names []string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	for _, name := range names {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(bin, name), "./cmd/"+name)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off", "GOFLAGS=")
		cmd.WaitDelay = 5 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", name, err, strings.TrimSpace(string(out)))
		}
	}
	log.InfoContext(ctx, "commands built", "names", strings.Join(names, " "), "seconds", time.Since(began).Seconds())
	return nil
}

// moduleRoot is the directory of the product's module, for a program that runs
// in that or in this one.
func moduleRoot(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the module %s: %w: %s", module, err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
