package flinkdist

import (
	"context"
	"crypto/sha1" //nolint:gosec // the only checksum that this kind of registry publishes for every jar
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Plugin is a jar that Flink loads apart from its own class path: it belongs
// into plugins/Name of a Flink home. Its file is shared and must not be changed.
type Plugin struct {
	Name string // directory, as s3-fs-hadoop
	Jar  string // absolute path
}

// Plugins returns what a Flink of that version needs beside its jars to keep its
// state in object storage and to be read by Prometheus, from the cache or by
// this machine's Maven as it is configured: 32 MB. Safe to call from many
// goroutines and processes. Options.Home and Download do not count here.
func Plugins(ctx context.Context, opts Options) ([]Plugin, error) {
	f, err := newFetcher(opts, releases)
	if err != nil {
		return nil, err
	}
	f.pauses = pauses()
	return f.plugins(ctx)
}

func (f *fetcher) plugins(ctx context.Context) ([]Plugin, error) {
	jars, err := parseJars(f.release.plugins)
	if err != nil {
		return nil, err
	}
	plugins := make([]Plugin, 0, len(jars))
	for _, j := range jars {
		path := filepath.Join(f.root, "plugins", j.sha1, j.file())
		if err := f.plugin(ctx, j, path); err != nil {
			return nil, fmt.Errorf("fetch %s of flink %s: %w", j.artifact, f.release.version, err)
		}
		plugins = append(plugins, Plugin{Name: strings.TrimPrefix(j.artifact, "flink-"), Jar: path})
	}
	return plugins, nil
}

// plugin makes the one jar stand at path. What stands there was checked before:
// it came by a rename.
func (f *fetcher) plugin(ctx context.Context, j jar, path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(path), ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	began := time.Now()
	f.Progress(fmt.Sprintf("downloading %s with mvn", j.file()))
	if err := f.mvn(ctx, work, []jar{j}, work); err != nil {
		return err
	}
	file := filepath.Join(work, j.file())
	if err := verifySum(ctx, file, sha1.New(), j.sha1); err != nil { //nolint:gosec // as above
		return err
	}
	f.Progress(fmt.Sprintf("downloaded and checked %s in %.1f s", j.file(), time.Since(began).Seconds()))
	return os.Rename(file, path)
}

// mvn lets this machine's Maven copy the jars, and nothing that they ask for,
// into the directory lib.
func (f *fetcher) mvn(ctx context.Context, work string, jars []jar, lib string) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("%w: install maven", ErrNoClient)
	}
	pom := filepath.Join(work, "pom.xml")
	if err := writePOM(pom, jars); err != nil {
		return err
	}
	return f.retry(ctx, func() error {
		cmd := command(ctx, "mvn", "-q", "-B", "-f", pom, mavenPlugin, "-DexcludeTransitive=true", "-DoutputDirectory="+lib)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("mvn: %w: %s", failure(ctx, err), lastWords(string(out)))
		}
		return nil
	})
}
