// Package enrol makes an agent a member of the fleet and keeps it one.
//
// The agent's key is born here and never leaves. With a join token the Agent asks the hub for its first SVID, over a
// connection in which only the hub shows a certificate, checked against a bundle or a pin that came with the token. At
// about half the life of each SVID it asks for the next one and signals Rotated, upon which the session opens a second
// stream. The key stays the same: it is what a later proof of the enrolment rests on.
//
// It promises: the key is on disk before the first request, so that a lost answer is repaired by asking again; SVID and
// trusted roots are written together, durably, before they are used and before the token is deleted; a refused token is
// not asked for again; a token put into the file later is found without a restart. Being unable to renew stops nothing
// but the stream, and Status says in one sentence what a person should do.
//
// It imports internal/identity, internal/run, the agent's part of proto/gen and gRPC.
package enrol
