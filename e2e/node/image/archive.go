package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// epoch is the newest time that a file in the image bears.
const epoch = "@1767225600" // 2026-01-01

// pack makes the archive of the finished root file system.
func (w *work) pack(ctx context.Context) error {
	half := filepath.Join(w.dir, "node.tar.zst")
	out, err := os.Create(half)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "tar", "-C", w.rootfs(), "--numeric-owner", "--sort=name",
		"--mtime="+epoch, "--clamp-mtime", "--exclude=./dev/*", "-c", ".")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = z, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, said.String())
	}
	if err := errors.Join(z.Close(), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(half, w.out)
}

// Load makes the image known to the Docker that the environment names, unless it
// is already.
func (b *Builder) Load(ctx context.Context, a Archive) (loaded bool, err error) {
	if exec.CommandContext(ctx, "docker", "image", "inspect", a.Ref).Run() == nil {
		return false, nil
	}
	in, err := os.Open(a.Path)
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }()
	z, err := zstd.NewReader(in)
	if err != nil {
		return false, err
	}
	defer z.Close()
	cmd := exec.CommandContext(ctx, "docker", "import",
		"--change", `ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]`,
		"--change", "ENV container=docker",
		"-", a.Ref)
	var said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = z, io.Discard, &said
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("docker import: %w: %s", err, said.String())
	}
	return true, nil
}
