// Package hub wires the hub together: the store, the authority, the jobs, the sessions with the agents and the admin
// API, on three listeners. It decides nothing itself.
//
// Init makes the directory of a new hub. New opens one and binds the listeners, Run serves until its context ends: then
// the agents are told to come back later, running calls finish, and the store, which outlives all that write to it, is
// flushed.
//
// It imports the rooms below hub, internal/* and what serves: gRPC, net/http.
package hub
