// Package failure reads Java failures: a stack text becomes a chain of causes,
// and a chain becomes a verdict from one table of what real Flink was seen to
// say (Rows). It promises to read any text without failing, to keep every
// message to one bounded line, and to know nothing about what is done next: an
// unknown failure stays Unknown and the caller chooses.
//
// It is pure and imports flink and the standard library only.
package failure
