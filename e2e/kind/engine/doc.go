// Package engine provides a Docker that can run the nodes of kind clusters: one
// that is there and really runs a privileged container, or one of its own.
//
// Its own stands below one state directory (images, sockets, logs, its
// containerd), is found again by later calls, whoever makes them, and is removed
// without a trace by Stop. What this machine lacks is found out and made up for:
// the capability to raise limits, version 2 of control groups, inotify
// instances, a containerd in the PATH that Docker cannot use.
//
// A second dockerd on one machine programs the same packet filter anew: start
// one of its own only where none works.
package engine
