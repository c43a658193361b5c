// Package stage is what the programs on real Flink (story, demo) stand on: a
// `waterwheel dev` world of their own in a directory, the CLI as a user types it,
// and three witnesses that are not part of what is tested: Flink's own REST, the
// kernel's list of processes and its file times, and the ledger checker.
//
// It drives the built binaries only; it imports no room of hub or agent.
package stage
