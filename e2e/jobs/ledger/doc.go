// Package ledger is the job that every test on real Flink runs, and the checker
// that reads what the job wrote.
//
// The job (Ledger.java) deals the numbers 0, 1, 2, … to keys in turn, counts per
// key in Flink state and writes each as a line through an exactly-once sink. If
// a run ever starts from a wrong snapshot, from none, or twice at once, the files
// show it: a number is missing, is there twice, or does not fit its count.
//
// Build compiles the job once for all Flink versions and caches the jar by what
// it was made from. Check streams any amount of output in bounded memory.
//
// It may import the standard library and internal/flinkdist (for the compiler
// and the place of the cache).
package ledger
