// Package digest sums up the live rows of one cluster in 32 bytes, so that hub
// and agent can tell in each Tick whether they hold the same.
//
// The root is SHA-256 over 256 bucket sums. A row's bucket is the first byte of
// SHA-256(uid), and a bucket's sum adds SHA-256(uid ‖ version ‖ hash) of its
// rows modulo 2²⁵⁶, so that the order of rows does not matter and a row can be
// taken out again. Lengths are part of what is hashed. Only live rows count:
// tombstones are dropped at either end at its own time, and that must never
// look like a divergence.
//
// It is pure and imports the standard library alone.
package digest
