// Package store keeps what the hub was told and what it was last told back: a
// durable log of writes, an immutable view of the newest rows, and one feed of
// orders per cluster.
//
// It promises (design L1) that a write is on disk before anybody sees it, that
// a View never changes, that a Feed never hides a row behind a cursor that
// passed it, and that nothing is ever read out of a damaged file: Open refuses,
// names the file and says what helps.
//
// Damaged means: of any one wrong bit anywhere in the two files, Open either
// refuses it or has the very rows that were written; so too of a page of the
// past in the place of a newer one. Each file has a sum over all that is in it
// (sum.go), and both of its meta pages must be good. Larger damage is found
// but for a collision of a CRC-32C or of 64 bits of a SHA-256. Not promised: to
// notice two whole files put back together, which is a backup (the epochs tell
// that to the agents), or files made by somebody who knows how, for a sum is no
// signature; nor to notice at once what is damaged while the store is open:
// what is still read from disk then is whole, or an error.
//
// Every method of Store may be called from any goroutine. Writes wait for Run,
// the one goroutine that commits. Values handed out share their maps, slices
// and bytes with the store: read them, never change them.
//
// It may import flink, internal/run, bbolt and memdb, and is with agent/disk
// the only importer of the former and alone the importer of the latter.
package store
