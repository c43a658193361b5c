// Package store keeps the agent's records in the API server of its own cluster:
// one FlinkJob object per job, one ConfigMap for its place in the hub's stream,
// one Secret for its identity. An agent that cannot reach the API server could
// not act either; a lost node costs seconds; people see everything with kubectl.
//
// It promises: every write is compare-and-swap, so that a stale twin cannot
// write over what a later life of the agent recorded, and learns that it is
// stale; what people set in the metadata of an object (a hold above all) is kept;
// what they change in spec or status is put back; an object deleted by hand is
// written again; an object recorded for another place, or one that is not whole,
// is not acted upon and says so. A list that fails is never read as empty. The
// cursor is on record only after the rows it speaks of. Memories that have only
// newer checkpoints in them, and ages in what people see, are written seldom.
//
// It may import client-go, and holds to the rules of agent/records.
package store
