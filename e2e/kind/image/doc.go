// Package image makes the container images that the clusters run: hub, agent,
// and Flink of each version, as archives that a node can load. No registry and
// no container engine takes part.
//
// It promises that an archive's bytes depend on its content alone: entries are
// sorted, times fixed, owners root. So its reference names its content, two
// builds of one content are one file, and no node ever runs an older image of
// the same name. Nothing large is held in memory.
//
// A Flink image is laid out like the official one: /opt/flink, /opt/java/openjdk,
// user flink 9999. Its system and Java are packages of this machine's
// distribution (Debian 12 or one like it), brought by apt-get; Flink comes from
// internal/flinkdist. It has no scripts of Flink's: what starts it brings its own
// command.
//
// It may import go-containerregistry, e2e/kind/cache, e2e/jobs and
// internal/flinkdist.
package image
