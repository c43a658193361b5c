// Package observe looks at one job: what exists of its runs, what their
// JobManagers answer, and what its state storage holds where memory asks for it.
// It turns all of it into one flink.Observed.
//
// What cannot be seen is part of the answer. Only a runtime that can say nothing
// at all is an error, since absence must never be concluded from it.
package observe
