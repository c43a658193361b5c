package flinkdist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// InstallPackages installs packages by this machine's apt-get. Call it only with
// the user's permission: it changes the machine.
func InstallPackages(ctx context.Context, progress func(line string), packages ...string) error {
	names := strings.Join(packages, " ")
	if !CanInstall() {
		return fmt.Errorf("install %s: needs root and apt-get", names)
	}
	if progress == nil {
		progress = func(string) {}
	}
	progress("installing " + names + " with apt-get")
	return apt{run: aptGet, say: progress}.get(ctx, "", append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)...)
}

// DownloadPackages brings packages into dir by this machine's apt-get, which
// checks them. Nothing is installed.
func DownloadPackages(ctx context.Context, dir string, packages ...string) error {
	return apt{run: aptGet, say: func(string) {}}.get(ctx, dir, append([]string{"download", "-q"}, packages...)...)
}

// apt is used by one at a time of all that know this lock: apt-get itself gives
// up at once where another one works.
type apt struct {
	run func(ctx context.Context, dir string, args ...string) error
	say func(line string)
}

// get tries again, each time with the lists of packages got anew: those of a
// fresh machine are empty or old, a mirror may fail for a moment, and somebody
// who does not know our lock may be at work. Only a package that is in no list
// is not waited for.
func (a apt) get(ctx context.Context, dir string, args ...string) error {
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var last, stale error
	for _, pause := range []time.Duration{0, 10 * time.Second, time.Minute} {
		if last = a.run(ctx, dir, args...); last == nil || ctx.Err() != nil {
			return last
		}
		if pause > 0 && stale == nil && unknown(last) {
			return last
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		stale = a.run(ctx, dir, "update", "-q", "-o", "APT::Update::Error-Mode=any")
	}
	if last = a.run(ctx, dir, args...); last != nil {
		return errors.Join(last, stale)
	}
	return nil
}

func (a apt) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("use apt-get: %w", err)
	}
	return lock(ctx, filepath.Join(dir, "apt.lock"), func() { a.say("waiting for another process that uses apt-get") })
}

// unknown reports whether apt-get has no package of a name.
func unknown(err error) bool {
	said := err.Error()
	return strings.Contains(said, "Unable to locate package") || strings.Contains(said, "has no installation candidate")
}

func aptGet(ctx context.Context, dir string, args ...string) error {
	cmd := command(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // a service that a package started may hold on to the output
		return fmt.Errorf("apt-get %s: %w: %s", args[0], failure(ctx, err), lastWords(string(out)))
	}
	return nil
}
