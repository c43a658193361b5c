// Package session is the hub's end of the streams to the agents. It begins each
// where the agent's cursor says, sends what is newer by looking at the store
// (state, never a queue), takes acks, nacks and reports, and ends a stream whose
// time or right is over.
//
// It promises: a row is sent once per session and revision; a slow or stuck
// agent costs one frame and at most 1 MiB unacked, and delays neither the
// committer nor another agent; a report of the durable class is acked after it
// is on disk; an agent touches only rows of the cluster in its verified identity;
// nothing is ever deleted because an agent did not mention it.
//
// It may import hub/store, proto/gen, internal/* and flink.
package session
