package image

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// LedgerJar is where a Flink image holds the ledger job.
const LedgerJar = "/opt/flink/usrlib/ledger.jar"

// Flink returns the image waterwheel-flink of that version, as "2.3" or "2.3.0":
// Flink, its plugins for object storage and Prometheus, Java 17, and the ledger
// job. What is missing for it on this machine is fetched, and with root's rights
// also what fetches is installed.
func Flink(ctx context.Context, log *slog.Logger, version string) (Archive, error) {
	version, err := flinkdist.Pinned(version)
	if err != nil {
		return Archive{}, err
	}
	parts, err := flinkParts(ctx, log, version)
	if err != nil {
		return Archive{}, fmt.Errorf("image of flink %s: %w", version, err)
	}
	return archive(ctx, log, "waterwheel-flink-"+version, v1.Config{
		User: "9999:9999",
		Env: []string{
			"PATH=/opt/java/openjdk/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"JAVA_HOME=/opt/java/openjdk", "FLINK_HOME=/opt/flink", "LANG=C.UTF-8",
		},
		WorkingDir: "/opt/flink",
		Cmd:        []string{"java", "-version"},
	}, parts...)
}

// flinkParts are the layers: what changes most often is on top.
func flinkParts(ctx context.Context, log *slog.Logger, version string) ([]part, error) {
	tell := func(line string) { log.InfoContext(ctx, "flink distribution", "said", line) }
	system, err := system(ctx, log)
	if err != nil {
		return nil, err
	}
	dist, err := flinkdist.FetchOrInstall(ctx, flinkdist.Options{Version: version, Progress: tell})
	if err != nil {
		return nil, err
	}
	plugins, err := flinkdist.PluginsOrInstall(ctx, flinkdist.Options{Version: version, Progress: tell})
	if err != nil {
		return nil, err
	}
	job, err := ledgerJar(ctx, tell)
	if err != nil {
		return nil, err
	}
	lib, err := libTree(dist.Lib)
	if err != nil {
		return nil, err
	}
	beside := tree{"opt/flink/conf": {}, "opt/flink/log": {}, "opt/flink/opt": {}}
	for _, p := range plugins {
		beside["opt/flink/plugins/"+p.Name+"/"+filepath.Base(p.Jar)] = node{mode: 0o644, source: p.Jar}
	}
	parts := []part{{holds: "system and Java", layer: system}}
	for _, add := range []struct {
		holds string
		tree  tree
	}{
		{"Flink " + version, lib},
		{"plugins", beside},
		{"the ledger job", tree{strings.TrimPrefix(LedgerJar, "/"): {mode: 0o644, source: job}}},
	} {
		p, err := treePart(add.holds, add.tree)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func libTree(lib string) (tree, error) {
	jars, err := os.ReadDir(lib)
	if err != nil {
		return nil, err
	}
	t := tree{}
	for _, jar := range jars {
		if jar.Type().IsRegular() && strings.HasSuffix(jar.Name(), ".jar") {
			t["opt/flink/lib/"+jar.Name()] = node{mode: 0o644, source: filepath.Join(lib, jar.Name())}
		}
	}
	return t, nil
}

// ledgerJar builds the job against the oldest Flink, so that one jar runs in all.
func ledgerJar(ctx context.Context, tell func(string)) (string, error) {
	jdk, err := flinkdist.FindOrInstallJDK(ctx, flinkdist.Compiler, tell)
	if err != nil {
		return "", err
	}
	oldest, err := flinkdist.FetchOrInstall(ctx, flinkdist.Options{Version: flinkdist.Versions()[0], Progress: tell})
	if err != nil {
		return "", err
	}
	return ledger.Build(ctx, ledger.Options{FlinkLib: oldest.Lib, Javac: jdk.Javac})
}
