// Package render writes down the Kubernetes objects of one run: a pure function
// of what is launched and of what the cluster's owner says about the place.
//
// Each run is a Flink cluster of its own. Its ConfigMap is the anchor: it holds
// the configuration, the launch it stands for, and all other objects as they
// were made, and all others are owned by it, so that removing it removes the
// run, and nothing else. No object of a run refers to anything outside the run.
//
// It promises that the same launch at the same place gives the same bytes; that
// every pod satisfies the restricted pod security standard and has a read-only
// root, whatever the place's pod template adds; that every name and label value
// is a legal one; and that what cannot be had is refused with the field to change.
//
// It may import flink, k8s.io/api, k8s.io/apimachinery and what pure packages
// may of the standard library.
package render
