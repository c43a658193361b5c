// Package feed has the values that travel between the agent's end of the stream
// and its store (rows, versions, cursors, nacks, reports that wait for the hub),
// and the one table of limits that both ends hold to.
//
// Pure data: it imports flink and the standard library, and does nothing.
package feed
