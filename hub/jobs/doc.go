// Package jobs is the one place where desired state changes: apply, delete,
// restart, gone. Each change writes the job, its assignment and the order for
// the cluster that holds it in one write of the store, with who asked for it.
//
// It promises that a refused change changed nothing and says what to do, that
// applying the same again is no change, and that the answer is given after the
// write is durable. Every method may be called from any goroutine.
//
// It may import flink and hub/store.
package jobs
