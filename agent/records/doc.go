// Package records is what an agent keeps of its jobs, and the rules of keeping
// it: rows as they came from the hub, the cursor, the planner's memories, the
// reports that the hub must not miss. One Store holds all of it in memory and
// puts every change on record through a Backend: a file of a host (agent/disk)
// or the objects of a cluster (agent/kube/store).
//
// It promises: the recorded version of a uid only grows; a row that cannot be
// used is recorded as rejected and leaves the last good order in force; a row is
// forgotten only after the hub has on disk that its job is gone; what was
// answered is on record, with one exception that is the backend's to choose:
// memories that say only of newer checkpoints may follow later. After a commit
// that failed, nothing is served before all was read again.
//
// It implements the Store port of agent/reconcile and the Store of
// agent/session, without importing either.
package records
