// Package cluster makes real Kubernetes clusters of one node by kind's library,
// and does to them what tests need done: load images, read the audit log, cut
// links, take the API server away, pause and restart the node, keep what tells
// why something failed.
//
// A cluster that Create returns works: DNS answers and Services are routed, not
// only the node is called ready. Every name begins with Prefix, so that clean-up
// finds all and nothing else. Methods may be called concurrently, on one cluster
// and on many. A cut ends at the latest with the process that made it.
//
// The node image is kind's own where it can be had and this machine can start
// it; else the one that the module e2e/node builds.
package cluster
