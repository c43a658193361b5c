// Package world is the whole system in one process under false time: a real hub
// and real agents over real gRPC and mTLS, joined by in-memory connections that
// can be cut, with fakes at the four ports of each agent and nowhere else.
//
// Its tests are programs over testing/synctest: 20 hours are milliseconds, and
// what they print are counts, not times.
package world
