// Package keys makes the keys of runs: each run's REST server answers only to
// who holds a certificate of that run's own authority, and so proves itself.
//
// Everything is derived from one master secret and the run's name, so nothing
// has to be kept or read back: the agent calls a run's REST with a client key
// that it derives again, and never reads the run's Secret. What is derived is
// for one run alone; who breaks into one run's pods has no key of another.
//
// It may import flink, the standard library and a writer of PKCS #12.
package keys
