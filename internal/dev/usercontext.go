package dev

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// userContext is the context that the user's own file of contexts has for the
// world in the default directory. Other worlds have their config.yaml alone.
const userContext = "waterwheel-dev"

const configVariable = "WATERWHEEL_CONFIG"

// isDefault reports whether the world lies where it does when nobody names a directory.
func (l layout) isDefault() bool {
	dir, err := DefaultDir(os.Getenv)
	if err != nil {
		return false
	}
	dir, err = resolve(dir)
	return err == nil && dir == string(l)
}

// shareContext lets the waterwheel command find the default world without being
// told where. It reports whether that world is what it calls now.
func (d dev) shareContext(ctx context.Context, p *progress, w world) bool {
	if !d.at.isDefault() {
		return false
	}
	_, err := d.config(ctx, "set-context", userContext, "--hub", address(w.Hub.Admin), "--identity", filepath.Dir(d.at.hubAdmin("key.pem")))
	if err != nil {
		p.lack("context", err.Error())
		return false
	}
	now, err := d.config(ctx, "current-context")
	return err == nil && strings.TrimSpace(string(now)) == userContext
}

// forgetContext undoes shareContext. That there is none is no error.
func (d dev) forgetContext(ctx context.Context) {
	if d.at.isDefault() {
		_, _ = d.config(ctx, "delete-context", userContext)
	}
}

// config runs `waterwheel config` on the user's own file of contexts.
func (d dev) config(ctx context.Context, args ...string) ([]byte, error) {
	env := withoutMarker(os.Environ())
	if os.Getenv(configVariable) == d.at.context() { // set by what up printed
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, configVariable+"=") })
	}
	return runWith(ctx, env, append([]string{d.bin.cli, "config"}, args...))
}
