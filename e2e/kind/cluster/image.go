package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
	"github.com/waterwheel-io/waterwheel/e2e/kind/internal/source"
)

// builtName is the repository of node images that the module e2e/node builds.
const builtName = "waterwheel/node"

// NodeImage returns the best node image that can be had: kind's own when it is
// present or can be pulled, else the one of the module e2e/node, which takes
// some minutes when nothing of it is cached. Kind's own does not start where
// control groups have version 1 or CAP_SYS_RESOURCE is withheld.
func NodeImage(ctx context.Context, e *engine.Engine, progress func(string)) (string, error) {
	say := func(format string, args ...any) {
		if progress != nil {
			progress(fmt.Sprintf(format, args...))
		}
	}
	if !e.Machine.CgroupV1 && !e.Machine.NoSysResource {
		image, err := official(ctx, e)
		if err == nil {
			return image, nil
		}
		say("no kindest/node image here, building one: %v", err)
	}
	dir, err := source.Node(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "run", ".", "image", "-load")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if e.Host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+e.Host)
	}
	var out bytes.Buffer
	said := &lines{say: say}
	cmd.Stdout, cmd.Stderr = &out, said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build it: %w: %s", err, said.last)
	}
	return strings.TrimSpace(out.String()), nil
}

// official finds an image of kind's project. The one of this kind version comes
// first, then any that is present.
func official(ctx context.Context, e *engine.Engine) (string, error) {
	if _, err := e.Docker(ctx, "image", "inspect", defaults.Image); err == nil {
		return defaults.Image, nil
	}
	present, err := e.Docker(ctx, "image", "ls", "--filter", "reference=kindest/node:v*", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return "", err
	}
	if list := strings.Fields(present); len(list) > 0 {
		return list[0], nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("pulling it takes more than 10 minutes"))
	defer cancel()
	if _, err := e.Docker(ctx, "pull", "-q", defaults.Image); err != nil {
		return "", err
	}
	return defaults.Image, nil
}

// lines passes on whole lines and remembers the last.
type lines struct {
	say  func(string, ...any)
	part []byte
	last string
}

func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.part = rest
		l.last = string(line)
		l.say("%s", l.last)
	}
}
