// Package telemetry is how a process of Waterwheel is watched: its logger and the names of log attributes, the metric
// sets of hub and agent, and the plain HTTP listener on loopback that serves metrics, health and readiness.
//
// It promises that the listener stands on loopback only, unless the caller says otherwise in so many words, and that no
// label can grow without bound: a counter with labels keeps a fixed number of combinations and counts the rest as one.
//
// It imports the standard library and the Prometheus client, and knows nothing of the domain but words.
package telemetry
