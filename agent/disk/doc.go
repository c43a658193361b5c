// Package disk is the agent's store on a host: one bbolt file with the rows as
// they came from the hub, the cursor, the planner's memories and the reports
// that the hub must not miss. In Kubernetes the cluster's API server takes its place.
//
// It promises: a frame of rows is recorded whole or not at all, the cursor never
// before the rows it speaks of; the recorded version of a uid only grows; a row
// is forgotten only after the hub has on disk that its job is gone; what was
// answered survives a crash of the host; a damaged, empty or unexpectedly
// missing file is refused with the remedy, never read as "nothing to do".
//
// Only this package and hub/store see bbolt. It implements the Store port of
// agent/reconcile and the Store of agent/session, without importing either.
package disk
