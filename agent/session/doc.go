// Package session is the agent's end of the stream to the hub. It dials, greets
// with one cursor, records what comes, acks what is recorded, and reports the
// latest status of each job; after any break it begins again, for as long as it
// takes. A hub that is gone is no error here, and nothing else in the agent can
// ask whether it is.
//
// It promises: an ack is sent only for rows that the store has durably; a frame
// of an older writer is refused; memory stays bounded by the number of jobs,
// since statuses are kept latest per job; a status that the hub must not miss
// stays in the store until the hub has it on disk; a renewed certificate opens a
// second stream, and the first ends only after the second is welcomed.
//
// It may import proto/gen, internal/* and flink. The store, the planner's wake
// and the identity come through Config.
package session
