// Package dev is the laptop world: a hub and agents as processes of this host,
// joined as in real life, with real Flink below them, and the verbs that bring
// that world up, show it, cut its wires and take it down (`waterwheel dev`).
//
// One supervisor process keeps hub and agents up as Kubernetes would, with
// back-off, and holds the relay between each agent and the hub. The processes
// outlive it: a new supervisor adopts what lives, found by a marker in the
// environment and never by a recorded pid, and restarts none of it.
//
// Below the directory of a world:
//
//	dev.json           what was chosen at the first up: ports, clusters, Flink, Java
//	relays.json        which relays are cut, so that a new supervisor keeps them so
//	config.yaml        a context for the waterwheel command
//	hub/               of the hub
//	agents/<cluster>/  of each agent: agent.yaml, token, its own directory
//	usrlib/            jars that all agents see as local:///opt/flink/usrlib; the examples are put there
//	state/             checkpoints and savepoints
//	logs/              one log a process, each bounded
//	control.sock       where the supervisor listens
//
// It promises: up may be asked again at any time and does what is missing; down
// leaves no process; purge leaves no file of the world. Processes are only
// signalled after their marker was read again. The world in the default directory
// also has a context in the user's own file of contexts, until it is purged.
//
// It may import internal/flinkdist, internal/telemetry, cobra and the standard
// library. It runs on Linux.
package dev
