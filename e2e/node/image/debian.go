package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

// suite is Debian 12 and not a newer one: its systemd is the last that starts on
// a machine with version 1 control groups.
const suite = "bookworm"

func debianPackages() []string {
	return []string{
		"systemd", "systemd-sysv", "dbus",
		"conntrack", "iptables", "nftables", "iproute2", "ethtool", "kmod",
		"libseccomp2", "runc", "containernetworking-plugins",
		"ca-certificates", "curl", "jq", "procps",
	}
}

func debianKey() string {
	sum := sha256.Sum256([]byte(suite + " minbase " + strings.Join(debianPackages(), ",")))
	return suite + "-" + hex.EncodeToString(sum[:])[:12]
}

// requireTools sees to what the build runs on this machine, before any work.
func requireTools(ctx context.Context, say func(string, ...any)) error {
	if os.Geteuid() != 0 {
		return errors.New("a node image is built by root only (debootstrap, chroot): run as root, or make a kindest/node image available to Docker")
	}
	for tool, pkg := range map[string]string{"debootstrap": "debootstrap", "tar": "tar", "chroot": "coreutils"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if _, err := exec.LookPath("apt-get"); err != nil {
			return fmt.Errorf("no %s on this machine: install Debian's package %s", tool, pkg)
		}
		say("installing %s", pkg)
		if err := aptInstall(ctx, pkg); err != nil {
			return err
		}
	}
	return nil
}

// aptInstall waits for others of this machine that install packages: apt-get
// itself gives up at once. What fails is tried again with new lists: those of a
// fresh machine are empty or old, and a mirror may fail for a moment.
func aptInstall(ctx context.Context, pkg string) error {
	unlock, err := aptLock(ctx)
	if err != nil {
		return fmt.Errorf("install %s: %w", pkg, err)
	}
	defer unlock()
	env := append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	apt := func(args ...string) error {
		return run(ctx, env, append([]string{"apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"}, args...)...)
	}
	install := func() error { return apt("install", "-y", "-q", "--no-install-recommends", pkg) }
	err = install()
	for _, pause := range []time.Duration{0, 10 * time.Second, time.Minute} {
		if err == nil || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		lists := apt("update", "-q")
		if err = install(); err != nil {
			err = errors.Join(err, lists)
		}
	}
	if err != nil {
		return fmt.Errorf("install %s (by hand: apt-get install %s): %w", pkg, pkg, err)
	}
	return nil
}

// aptLock is the lock of all who use apt-get for Waterwheel's tests on this machine.
func aptLock(ctx context.Context) (unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "waterwheel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return programs.Lock(ctx, filepath.Join(dir, "apt.lock"))
}

// debian returns the archive of the base, made once.
func (w *work) debian(ctx context.Context) (string, error) {
	archive := filepath.Join(w.Root, debianKey()+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	began := time.Now()
	dir := filepath.Join(w.dir, "debian")
	if err := debootstrap(ctx, dir); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	if err := slim(root); err != nil {
		return "", err
	}
	half := filepath.Join(w.dir, "debian.tar")
	if err := run(ctx, nil, "tar", "-C", dir, "--numeric-owner", "--exclude=./dev/*", "-cf", half, "."); err != nil {
		return "", err
	}
	if err := os.Rename(half, archive); err != nil {
		return "", err
	}
	w.say("debootstrap %s: %.0f s", suite, time.Since(began).Seconds())
	return archive, discard(dir)
}

// debootstrap makes the base in dir; a second time from nothing where a mirror failed.
func debootstrap(ctx context.Context, dir string) error {
	try := func() error {
		return run(ctx, append(os.Environ(), "LC_ALL=C"), "debootstrap", "--variant=minbase",
			"--include="+strings.Join(debianPackages(), ","), suite, dir)
	}
	err := try()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if gone := discard(dir); gone != nil {
		return errors.Join(err, gone)
	}
	if err := try(); err != nil {
		return fmt.Errorf("%w (does this machine reach a Debian mirror?)", err)
	}
	return nil
}

// slim removes what a node never reads.
func slim(root *os.Root) error {
	for _, dir := range []string{
		"var/lib/apt/lists", "var/cache/apt", "var/log", "tmp",
		"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
	} {
		if err := root.RemoveAll(dir); err != nil {
			return err
		}
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := root.Chmod("tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	return root.MkdirAll("var/cache/apt/archives/partial", 0o755)
}

func (w *work) unpack(ctx context.Context) error {
	if err := os.Mkdir(w.rootfs(), 0o755); err != nil {
		return err
	}
	return run(ctx, nil, "tar", "-C", w.rootfs(), "--numeric-owner", "-xpf", w.base)
}

// run runs a tool; of its output the end is in the error.
func run(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	// debootstrap undoes its mounts when it is asked to end
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(out))
	const most = 1500
	if len(said) > most {
		said = "… " + said[len(said)-most:]
	}
	return fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, said)
}
