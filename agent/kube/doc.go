// Package kube brings runs up and down in a Kubernetes cluster: it implements
// the agent's ports Runtime and Snapshots on the cluster's API server.
//
// A run is a handful of objects in the namespace of its tenant, all named by the
// run. The ConfigMap of the run, its anchor, is made first and owns the others;
// it also holds how each of them was made, so that a run is put back as it was
// made, whatever a newer agent would make of the same launch, and so that an
// agent without records finds all it needs to know.
//
// It promises: what is said of a cluster comes from watches, and is an error
// while a watch is cut, never "nothing exists"; nothing is written where nothing
// differs; nothing is deleted that was not read from the API server just before,
// by its UID; the high availability data of a run outlives the run until Collect
// is told that nobody needs it.
//
// It may import flink, agent/render and client-go, which no other part of the
// agent may.
package kube
