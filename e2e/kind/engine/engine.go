package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// DefaultState is where an engine of its own stands: a short path, for the
// sockets below it, on a disk that holds what it runs.
const DefaultState = "/var/lib/waterwheel-e2e"

// Engine is a Docker that works.
type Engine struct {
	// Host is what DOCKER_HOST must be for its clients; empty: the default.
	Host string
	// Own says that this package started it.
	Own bool
	// Machine is what was found out about this machine.
	Machine Machine
}

// Options say how to find or start an engine.
type Options struct {
	// State is where one of its own stands; empty: DefaultState.
	State string
	// Progress is told what goes on, a line at a time; nil for silence.
	Progress func(line string)
}

func (o Options) state() string {
	if o.State != "" {
		return o.State
	}
	return DefaultState
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Open returns an engine that works: the running one of its own, else the one
// that the environment names or the default, else a new one of its own.
func Open(ctx context.Context, o Options) (*Engine, error) {
	m, err := Inspect()
	if err != nil {
		return nil, err
	}
	own := &Engine{Host: "unix://" + filepath.Join(o.state(), socketName), Own: true, Machine: m}
	if own.answers(ctx) == nil {
		return own, m.prepare(o.say)
	}
	given := &Engine{Host: os.Getenv("DOCKER_HOST"), Machine: m}
	lacks := given.answers(ctx)
	if lacks == nil {
		if lacks = given.prove(ctx); lacks == nil {
			return given, m.prepare(o.say)
		}
		o.say("the Docker of this machine cannot run nodes: %v", lacks)
	}
	if err := own.start(ctx, o); err != nil {
		return nil, fmt.Errorf("start a Docker (the machine's own does not work: %w): %w", lacks, err)
	}
	return own, nil
}

// Running returns the engines that answer, without starting one: that of its own
// and the one of the environment.
func Running(ctx context.Context, o Options) []*Engine {
	var all []*Engine
	own := &Engine{Host: "unix://" + filepath.Join(o.state(), socketName), Own: true}
	for _, e := range []*Engine{own, {Host: os.Getenv("DOCKER_HOST")}} {
		if e.answers(ctx) == nil && (e.Own || e.Host != own.Host) {
			all = append(all, e)
		}
	}
	return all
}

// Bind makes this engine the one of the process: kind's library asks the docker
// command, and that the environment.
func (e *Engine) Bind() error {
	if e.Host == "" {
		return nil
	}
	return os.Setenv("DOCKER_HOST", e.Host)
}

// Docker runs the docker command against the engine and returns its output
// without the last line end.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	return e.DockerWith(ctx, nil, args...)
}

// DockerWith is Docker with something to read.
func (e *Engine) DockerWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := e.Command(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// Command is a docker command that has not begun.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = os.Environ()
	if e.Host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+e.Host)
	}
	return cmd
}

func (e *Engine) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("no docker command")
	}
	_, err := e.Docker(ctx, "version", "--format", "{{.Server.Version}}")
	return err
}

const probeImage = "waterwheel/probe:1"

// prove runs a privileged container, which is what a node is. Machines that
// refuse a capability answer all questions and fail only here.
func (e *Engine) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if _, err := e.Docker(ctx, "image", "inspect", probeImage); err != nil {
		dir, err := os.MkdirTemp("", "ww-probe-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bin := filepath.Join(dir, "probe")
		if err := compile(ctx, "probe", bin, ""); err != nil {
			return err
		}
		b, err := os.ReadFile(bin)
		if err != nil {
			return err
		}
		layer, err := oneFile("probe", b)
		if err != nil {
			return err
		}
		if _, err := e.DockerWith(ctx, bytes.NewReader(layer), "import", "--change", `ENTRYPOINT ["/probe"]`, "-", probeImage); err != nil {
			return err
		}
	}
	_, err := e.Docker(ctx, "run", "--rm", "--privileged", "--network", "none", probeImage)
	return err
}
