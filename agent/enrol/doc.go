// Package enrol makes an agent a member of the fleet and keeps it one.
//
// The agent's keys are born here and never leave. With a join token the Agent asks the hub for its first SVID, over a
// connection in which only the hub shows a certificate, checked against a bundle or a pin that came with the token. At
// about half the life of each SVID it asks for the next one, of a new key, and signals Rotated, upon which the session
// opens a second stream. The enrolment key is another one: it is never shown in a handshake, it stays the same, and the
// hub has its public part on record from the day of joining. After an absence that was longer than the SVID's life the
// agent proves it, and has a new SVID, without a person.
//
// It promises: keys are on disk before the first request, so that a lost answer is repaired by asking again; SVID, its key
// and trusted roots are written together, durably, before they are used and before the token is deleted; a refused token
// is not asked for again; a token put into the file later is found without a restart. Being unable to renew or to come
// back stops nothing but the stream, is tried for as long as it takes, and Status says in one sentence what a person
// should do: something, only if the hub refuses for good.
//
// It imports internal/identity, internal/run, the agent's part of proto/gen and gRPC.
package enrol
