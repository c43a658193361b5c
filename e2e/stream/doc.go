// Package stream tests the two ends of the stream against each other: the real
// hub/store and hub/session, the real agent/session and agent/disk, real gRPC
// over connections in memory that can be cut, under the false time of
// testing/synctest. Each row of the protocol's table of scenarios that concerns
// first light is a test here, and its invariants are checked at the end of each.
package stream
