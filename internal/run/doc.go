// Package run keeps the long-running parts of a process together: they start together, and when one fails all stop.
//
// Tasks waits for every goroutine it started, so nothing outlives it; a panic in a task is an error of that task and not
// the end of the process before the others have put their things away. Backoff says how long to wait before trying
// again; it is pure, the randomness is an argument.
//
// It imports the standard library only.
package run
