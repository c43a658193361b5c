package flinkdist

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// Archive is the package that holds a distribution, pinned.
type Archive struct {
	Requirement string // what a Python package client is asked for
	File        string // its file name; .whl (a zip) or .tar.gz
	Bytes       int64
	SHA256      string // hex
	lib         string // directory of the jars inside the archive, slashes
}

// release is one Flink version that can be fetched.
type release struct {
	version string
	archive Archive
	maven   string // the jars of the same, one a line; empty: only the archive
	plugins string // jars that go below plugins/, one a line
}

// mavenJars230 runs DataStream jobs and takes jars over REST. It has no SQL, no
// RocksDB and no metrics reporters.
//
//go:embed maven-2.3.0.txt
var mavenJars230 string

// releases is the table of pinned versions, oldest first. Older versions are
// published as source archives, newer ones as wheels, with different insides.
var releases = []release{
	{
		version: "1.20.5",
		archive: Archive{
			Requirement: "apache-flink-libraries==1.20.5",
			File:        "apache_flink_libraries-1.20.5.tar.gz",
			Bytes:       231_999_354,
			SHA256:      "e6aee62ea1a1fe7b32e28894ad079f3f1a50a372a4caac3df52405267f4228c8",
			lib:         "apache_flink_libraries-1.20.5/deps/lib",
		},
		// An older patch's plugins run in 1.20.5: they meet it at stable interfaces only.
		plugins: `
org.apache.flink:flink-s3-fs-hadoop:1.20.1 cc028d89fdb51aba820c732c76941df0b5eb1916
org.apache.flink:flink-metrics-prometheus:1.20.1 07e9766b246b6ba03ac1c3bfbdd9d413776d4414
`,
	},
	{
		version: "2.3.0",
		archive: Archive{
			Requirement: "apache-flink-libraries==2.3.0",
			File:        "apache_flink_libraries-2.3.0-py2.py3-none-any.whl",
			Bytes:       329_139_814,
			SHA256:      "38ece876553286b3a285cf344c2d2038f8a7ca10da5df54d5107250386d64151",
			lib:         "pyflink/lib",
		},
		maven: mavenJars230,
		plugins: `
org.apache.flink:flink-s3-fs-hadoop:2.3.0 9d0f8a8ba636a3fc8f9e81be909f06deb0fdead9
org.apache.flink:flink-metrics-prometheus:2.3.0 03065b6c2396d42eb7ad8ef3c7745d1b1de25461
`,
	},
}

// Versions lists the Flink versions that Fetch knows, oldest first.
func Versions() []string {
	vs := make([]string, 0, len(releases))
	for _, r := range releases {
		vs = append(vs, r.version)
	}
	return vs
}

// Pinned turns a version as people write it, "2.3" or "2.3.0", into the full
// version that Fetch knows. Of a minor version it is the newest patch.
func Pinned(version string) (string, error) {
	r, err := find(releases, version)
	return r.version, err
}

func find(table []release, version string) (release, error) {
	for _, r := range slices.Backward(table) {
		if r.version == version || strings.HasPrefix(r.version, version+".") && strings.Count(version, ".") == 1 {
			return r, nil
		}
	}
	var known []string
	for _, r := range table {
		known = append(known, r.version)
	}
	return release{}, fmt.Errorf("flink %q is not a known version: use one of %s", version, strings.Join(known, ", "))
}
