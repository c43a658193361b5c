// Package storage is the object storage in which the clusters' jobs keep their
// state: an S3-compatible server as a process of this machine, in front of plain
// directories.
//
// It promises that the server's faults (paused, unreachable) lose nothing, that
// what it stores can be looked at as files without asking it, and that a server
// which outlived the program that started it is found again in its directory.
// The server is the real one that its go.mod pins, built once per machine.
//
// It may import e2e/kind/cache, e2e/jobs/ledger and the standard library.
package storage
