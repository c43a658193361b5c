// Package scene is what the programs about an agent and its API server (idle,
// converge) stand on: a real API server without nodes, the agent's real parts
// wired as the agent wires them, and a stand-in where Flink would be.
//
// It promises: the agent acts as a ServiceAccount with the rights that its chart
// gives it, and no others; the stand-in is at the agent's Flink port and nowhere
// else, so that what is asked of the API server is what a real agent asks; what
// was asked is counted from the API server's own audit log, not by the asker.
//
// The hub is not there: orders go into the agent's records by the call that its
// session makes for a frame, and nothing takes the reports.
package scene
