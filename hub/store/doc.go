// Package store keeps what the hub was told and what it was last told back: a
// durable log of writes, an immutable view of the newest rows, and one feed of
// orders per cluster.
//
// It promises (design L1) that a write is on disk before anybody sees it, that
// a View never changes, that a Feed never hides a row behind a cursor that
// passed it, and that nothing is ever read out of a damaged file: Open refuses,
// names the file and says what helps.
//
// Every method of Store may be called from any goroutine. Writes wait for Run,
// the one goroutine that commits. Values handed out share their maps, slices
// and bytes with the store: read them, never change them.
//
// It may import flink, internal/run, bbolt and memdb, and is with agent/disk
// the only importer of the former and alone the importer of the latter.
package store
