// Package reconcile makes each job's order true in this place and keeps it so:
// a keyed queue of jobs, and the pass that observes, plans, records, acts and
// looks again. It owns no fact about Flink or Kubernetes: those come through the
// four ports it declares (Runtime, Flink, Snapshots, Store).
//
// Nothing here can ask whether the hub is reachable.
package reconcile
