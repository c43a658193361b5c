// Package flinkdist makes real Flink distributions and a Java to run them
// available on this machine: for the laptop world and for every test that wants
// real Flink. The product's agent never uses it.
//
// A distribution comes from the first of: FLINK_HOME, a directory the caller
// names, the cache, and the package clients of this machine (pip, then Maven),
// as they are configured; the package knows no address of any registry.
//
// It promises that a Dist it returns is whole: what was downloaded has been
// checked against a pinned checksum before anything of it was used, and a
// distribution enters the cache by one rename. Any number of processes may fetch
// at once; one of them downloads. Nothing is left behind by a failed fetch
// beyond an empty lock file.
//
// It may import the standard library only.
package flinkdist
