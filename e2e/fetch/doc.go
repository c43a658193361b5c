// Command fetch makes real Flink and the ledger job available on this machine
// and says where they are, one line each. Other programs do the same on their
// own; running it first only moves the wait.
package main
