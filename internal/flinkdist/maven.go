package flinkdist

import (
	"context"
	"crypto/sha1" //nolint:gosec // the only checksum that this kind of registry publishes for every jar
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mavenPlugin is pinned, so that every machine runs the same one.
const mavenPlugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// jar is one pinned file of a Maven registry.
type jar struct{ group, artifact, version, sha1 string }

func (j jar) file() string { return j.artifact + "-" + j.version + ".jar" }

// parseJars reads lines of the form group:artifact:version sha1.
func parseJars(list string) ([]jar, error) {
	var jars []jar
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, sum, _ := strings.Cut(line, " ")
		parts := strings.Split(name, ":")
		if len(parts) != 3 || len(sum) != 2*sha1.Size {
			return nil, fmt.Errorf("jar list: want group:artifact:version sha1, got %q", line)
		}
		jars = append(jars, jar{group: parts[0], artifact: parts[1], version: parts[2], sha1: sum})
	}
	return jars, nil
}

// fromMaven fills lib with the release's list of jars, by this machine's Maven
// as it is configured. What Maven itself thinks a jar needs does not count: the
// list is whole.
func (f *fetcher) fromMaven(ctx context.Context, work, lib string) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("%w: install python3-pip and python3-venv (or maven), or set FLINK_HOME to an unpacked Flink %s", ErrNoClient, f.release.version)
	}
	jars, err := parseJars(f.release.maven)
	if err != nil {
		return err
	}
	f.Progress(fmt.Sprintf("downloading the %d jars of Flink %s with mvn", len(jars), f.release.version))
	began := time.Now()
	if err := f.mvn(ctx, work, jars, lib); err != nil {
		return err
	}
	if err := verifyJars(ctx, lib, jars); err != nil {
		return err
	}
	f.Progress(fmt.Sprintf("downloaded and checked %d jars, %d MB in %.1f s", len(jars), size(lib)/1e6, time.Since(began).Seconds()))
	return nil
}

// verifyJars accepts lib if it holds the jars of the list and nothing else.
func verifyJars(ctx context.Context, lib string, jars []jar) error {
	entries, err := os.ReadDir(lib)
	if err != nil {
		return err
	}
	if len(entries) != len(jars) {
		return fmt.Errorf("mvn brought %d files, want %d", len(entries), len(jars))
	}
	for _, j := range jars {
		if err := verifySum(ctx, filepath.Join(lib, j.file()), sha1.New(), j.sha1); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}

// writePOM writes the smallest project that depends on the jars.
func writePOM(path string, jars []jar) error {
	type dependency struct {
		GroupID    string `xml:"groupId"`
		ArtifactID string `xml:"artifactId"`
		Version    string `xml:"version"`
	}
	project := struct {
		XMLName xml.Name `xml:"project"`
		Model   string   `xml:"modelVersion"`
		dependency
		Packaging    string       `xml:"packaging"`
		Dependencies []dependency `xml:"dependencies>dependency"`
	}{Model: "4.0.0", dependency: dependency{"dev.waterwheel", "flink", "1"}, Packaging: "pom"}
	for _, j := range jars {
		project.Dependencies = append(project.Dependencies, dependency{j.group, j.artifact, j.version})
	}
	out, err := xml.MarshalIndent(project, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, out, 0o644)
}
