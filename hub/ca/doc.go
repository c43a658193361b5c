// Package ca is the hub's built-in certificate authority and the keeper of who belongs to the fleet.
//
// Authority holds the root (ECDSA P-256, ten years) and signs SVIDs; HubSource is the hub's own, renewed in memory.
// Members invites clusters, answers Enrol, Renew and Reattest, and says of each peer whether it may still come in.
//
// It promises: a join token is 256 bit, works once, for one cluster, for an hour, and only its SHA-256 is stored; it is
// consumed in the write that records the certificate it bought; the same token with the same key buys the same
// certificate again, since an answer may be lost; with another key it buys nothing. A cluster's uid is never used again.
// Who reattests proves the enrolment key of the cluster, on this very connection; a stranger who tries learns nothing, and
// keeps nobody else out. A certificate starts five minutes before its making, because clocks differ, and never outlives the root.
//
// The root key lies in a file of its own beside the database, readable by its owner only. Leaves are signed by the root
// itself; a chain may grow by an intermediate without a change at the other ends, which follow whatever chain is given.
//
// It imports hub/store, the agent's part of proto/gen, internal/identity and gRPC.
package ca
