package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// Example is a jar that a world has without being asked, for the manifests in docs/examples.
type Example struct {
	Jar string // its name in usrlib
	// Build returns the path of the jar, made against the Flink of which lib holds
	// the jars, with the compiler javac. What it made before it should not make again.
	Build func(ctx context.Context, lib, javac string) (path string, err error)
}

// bringExamples puts the examples into usrlib, anew when they have changed.
// Where nothing can compile them the world does without, and says so.
func (d dev) bringExamples(ctx context.Context, p *progress, g ground) error {
	if len(d.examples) == 0 {
		return nil
	}
	jdk, err := flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
	if errors.Is(err, flinkdist.ErrNoJDK) {
		p.lack("examples", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range d.examples {
		if err := p.step("example job", func(say func(string)) error {
			say("usrlib/" + e.Jar)
			jar, err := e.Build(ctx, g.Lib, jdk.Javac)
			if err != nil {
				return err
			}
			return replaceCopy(filepath.Join(d.at.usrlib(), e.Jar), jar)
		}); err != nil {
			return err
		}
	}
	return nil
}

// replaceCopy makes to a copy of from, so that readers see the old or the new
// content whole. An equal file is left alone.
func replaceCopy(to, from string) error {
	want, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	have, err := os.ReadFile(to)
	if err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for the jar that is there: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return replaceFile(to, want, 0o644)
}
