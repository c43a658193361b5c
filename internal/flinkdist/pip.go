package flinkdist

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pip downloads the archive with this machine's pip, as it is configured.
//
// The checksum goes into the request: for a source archive pip runs the
// package's own setup code to learn its name, and it must not do so before the
// bytes are known to be the pinned ones. That step also needs pip's build
// isolation, so it stays on.
func (f *fetcher) pip(ctx context.Context, a Archive, dir string) (string, error) {
	client, err := findPip(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: install python3-pip and python3-venv, or set FLINK_HOME to an unpacked Flink %s", err, f.release.version)
	}
	request := filepath.Join(dir, "request.txt")
	if err := os.WriteFile(request, fmt.Appendf(nil, "%s --hash=sha256:%s\n", a.Requirement, a.SHA256), 0o644); err != nil {
		return "", err
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", err
	}
	f.Progress(fmt.Sprintf("downloading %s, %d MB, with %s", a.File, a.Bytes/1e6, strings.Join(client, " ")))
	stop := f.watch(tmp, a.Bytes)
	defer stop()
	cmd := command(ctx, client[0], append(client[1:], "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check",
		"--progress-bar", "off", "--dest", dir, "--requirement", request)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp) // so that an unfinished download goes with the work directory
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip download %s: %w: %s", a.Requirement, failure(ctx, err), lastWords(string(out)))
	}
	return filepath.Join(dir, a.File), nil
}

// findPip returns the words of a command that is a working pip.
func findPip(ctx context.Context) ([]string, error) {
	for _, words := range [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}} {
		if _, err := exec.LookPath(words[0]); err != nil {
			continue
		}
		if command(ctx, words[0], append(words[1:], "--version")...).Run() == nil {
			return words, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return nil, ErrNoClient
}

// watch tells every few seconds how much lies in dir, until stop is called.
func (f *fetcher) watch(dir string, total int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f.Progress(fmt.Sprintf("  %d of %d MB, %.0f s", min(size(dir), total)/1e6, total/1e6, time.Since(began).Seconds()))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// size adds up the files below dir; files that vanish meanwhile do not count.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // it vanished
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// command is a child in a process group of its own, all of which ends with ctx.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// failure prefers the reason the context ended over the signal it led to.
func failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lastWords is the line of a client's output that says what was wrong: the
// first that calls itself an error, else the last.
func lastWords(out string) string {
	last := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "[ERROR]" { // what Maven leaves between its paragraphs
			continue
		}
		if strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "[ERROR]") || strings.HasPrefix(line, "E:") {
			return line
		}
		if line != "" {
			last = line
		}
	}
	return last
}
