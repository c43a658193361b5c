package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// preload imports the images into what will be the node's containerd, by a
// containerd on this machine that has the node's directory as its own. Nothing
// is unpacked: that is the node's, with its own snapshotter.
func (w *work) preload(ctx context.Context) (err error) {
	state, err := os.MkdirTemp("", "ww-ctd-") // short: a socket's path is limited
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(state) }()
	data := filepath.Join(w.rootfs(), "var", "lib", "containerd")
	if err := os.MkdirAll(data, 0o711); err != nil {
		return err
	}
	conf := filepath.Join(state, "config.toml")
	if err := os.WriteFile(conf, []byte(preloadConfig(data, state)), 0o644); err != nil {
		return err
	}
	stop, err := w.startContainerd(ctx, conf, state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	archives, err := filepath.Glob(filepath.Join(w.images(), "*.tar"))
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return errors.New("no image archives")
	}
	for _, archive := range archives {
		err := run(ctx, nil, filepath.Join(w.bin, "ctr"), "-a", filepath.Join(state, "c.sock"), "-n", "k8s.io", "images", "import",
			"--label=io.cri-containerd.pinned=pinned", "--all-platforms", "--no-unpack", "--digests", archive)
		if err != nil {
			return fmt.Errorf("import %s: %w", filepath.Base(archive), err)
		}
	}
	return nil
}

func preloadConfig(data, state string) string {
	off := append(noErofs(), "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri")
	return fmt.Sprintf("version = 3\nroot = %q\nstate = %q\ndisabled_plugins = [%s]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		data, filepath.Join(state, "state"), quoted(off), filepath.Join(state, "c.sock"), filepath.Join(state, "t.sock"))
}

// startContainerd returns when containerd listens.
func (w *work) startContainerd(ctx context.Context, conf, state string) (stop func() error, err error) {
	log, err := os.Create(filepath.Join(w.dir, "containerd.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(w.bin, "containerd"), "-c", conf)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		_ = log.Close()
	}()
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return fmt.Errorf("end containerd: %w", err)
		}
		if err := <-ended; err != nil {
			return fmt.Errorf("containerd: %w", err)
		}
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(state, "c.sock")); err == nil {
			return stop, nil
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("containerd ended: %w: %s", err, lastBytes(said, 1000))
		case <-deadline:
			return nil, errors.Join(errors.New("containerd does not listen after 30 s"), stop())
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), stop())
		case <-tick.C:
		}
	}
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
