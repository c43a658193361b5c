// Package config turns a run and the place it runs on into everything that
// Flink has to be told: config.yaml, logging, JVM flags, arguments, directories.
//
// For is a pure function: the same launch in the same place gives the same
// bytes. It promises that no key is written twice, that no user setting touches
// a key on which Waterwheel's own promises rest, and that the memory parts of a
// process never add up to more than was declared for it. Flink 1.20 and 2.x are
// written from one model; what differs in name between them stands in one table.
//
// It may import flink and the standard library without os, net, io/fs, context,
// sync, time.Now, math/rand and log.
package config
