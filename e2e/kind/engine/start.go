package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waterwheel-io/waterwheel/e2e/kind/internal/source"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

const (
	socketName = "docker.sock"
	pidName    = "dockerd.pid"
	logName    = "dockerd.log"
	configName = "daemon.json"
)

// systemPath is where the daemon looks for what it runs. Docker takes the first
// containerd of the PATH and waits forever for one it does not know.
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// start begins an engine below the state directory, unless somebody else has
// meanwhile.
func (e *Engine) start(ctx context.Context, o Options) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can; run as root, or give a Docker that runs privileged containers by DOCKER_HOST")
	}
	state := o.state()
	if err := os.MkdirAll(state, 0o711); err != nil {
		return err
	}
	unlock, err := lockState(ctx, state)
	if err != nil {
		return err
	}
	defer unlock()
	if e.answers(ctx) == nil {
		return nil
	}
	if err := layered(state); err != nil {
		return err
	}
	dockerd, err := installDocker(ctx, o)
	if err != nil {
		return err
	}
	if err := e.Machine.prepare(o.say); err != nil {
		return err
	}
	wrapper := ""
	if e.Machine.NoSysResource {
		if wrapper, err = buildWrapper(ctx, state); err != nil {
			return err
		}
		o.say("this machine withholds CAP_SYS_RESOURCE: containers start without it")
	}
	conf, err := daemonConfig(state, wrapper)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(state, configName), conf, 0o644); err != nil {
		return err
	}
	if answers, err := e.inherit(ctx, o, time.Minute); answers || err != nil {
		return err
	}
	began := time.Now()
	if err := e.run(ctx, dockerd, state); err != nil {
		return err
	}
	if err := e.prove(ctx); err != nil {
		return fmt.Errorf("it runs and cannot start a privileged container: %w", err)
	}
	o.say("Docker started in %.1f s, state below %s", time.Since(began).Seconds(), state)
	return nil
}

// daemonConfig is the daemon's whole configuration: nothing outside state, and
// no default bridge, which another daemon may have and which would outlive this
// one. Containers name their network.
func daemonConfig(state, wrapper string) ([]byte, error) {
	conf := map[string]any{
		"data-root":      filepath.Join(state, "data"),
		"exec-root":      filepath.Join(state, "run"),
		"pidfile":        filepath.Join(state, pidName),
		"hosts":          []string{"unix://" + filepath.Join(state, socketName)},
		"storage-driver": "overlay2",
		"bridge":         "none",
		// away from the pools that another daemon takes its networks from first
		"default-address-pools": []map[string]any{{"base": "172.28.0.0/14", "size": 20}},
		"oom-score-adjust":      0, // a negative one is refused without CAP_SYS_RESOURCE
		"log-driver":            "json-file",
		"log-opts":              map[string]string{"max-size": "50m", "max-file": "2"},
	}
	if wrapper != "" {
		conf["runtimes"] = map[string]any{"narrow": map[string]string{"path": wrapper}}
		conf["default-runtime"] = "narrow"
	}
	return json.MarshalIndent(conf, "", "  ")
}

// run starts the daemon and waits until it answers. It outlives this process.
func (e *Engine) run(ctx context.Context, dockerd, state string) error {
	log, err := os.Create(filepath.Join(state, logName))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), dockerd, "--config-file", filepath.Join(state, configName))
	cmd.Env = []string{"PATH=" + systemPath, "HOME=/root", "LANG=C.UTF-8"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute)
	for {
		if e.answers(ctx) == nil {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("dockerd ended: %w: %s", err, logTail(log.Name()))
		case <-deadline:
			return fmt.Errorf("dockerd (pid %d) does not answer after 3 minutes: %s", cmd.Process.Pid, logTail(log.Name()))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func logTail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 1500
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}

// layered refuses a state directory that cannot hold layers itself.
func layered(state string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(state, &fs); err != nil {
		return err
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on an overlay file system, which cannot carry another: mount a volume there", state)
	}
	return nil
}

func installDocker(ctx context.Context, o Options) (dockerd string, err error) {
	find := func() string {
		for _, dir := range append(filepath.SplitList(systemPath), filepath.SplitList(os.Getenv("PATH"))...) {
			path := filepath.Join(dir, "dockerd")
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
				return path
			}
		}
		return ""
	}
	complete := func() bool {
		_, err := exec.LookPath("docker")
		return err == nil && find() != ""
	}
	if complete() {
		return find(), nil
	}
	if !flinkdist.CanInstall() {
		return "", errors.New("no dockerd or docker on this machine: install Docker (Debian's package is docker.io)")
	}
	if err := flinkdist.InstallPackages(ctx, o.Progress, "docker.io", "iptables"); err != nil {
		return "", fmt.Errorf("install docker.io (by hand: apt-get install docker.io): %w", err)
	}
	if !complete() {
		return "", errors.New("docker.io is installed and there is no dockerd or docker")
	}
	return find(), nil
}

// buildWrapper makes the runtime that takes the capability away from containers.
func buildWrapper(ctx context.Context, state string) (string, error) {
	runtime := ""
	for _, dir := range filepath.SplitList(systemPath) {
		if path := filepath.Join(dir, "runc"); exec.CommandContext(ctx, path, "--version").Run() == nil {
			runtime = path
			break
		}
	}
	if runtime == "" {
		return "", errors.New("no runc on this machine: install Debian's package runc")
	}
	out := filepath.Join(state, "narrowrunc")
	return out, compile(ctx, "narrowrunc", out, "-X main.runtime="+runtime)
}

// compile builds a program of this package's directory.
func compile(ctx context.Context, name, out, ldflags string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w "+ldflags, "-o", out, source.Module+"/engine/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", name, err, said)
	}
	return nil
}

// oneFile is a tar of one program.
func oneFile(name string, content []byte) ([]byte, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := tw.Write(content); err != nil {
		return nil, err
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
