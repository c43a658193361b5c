// Package process runs the Flink clusters of runs as plain processes of this
// host, and reads snapshots from its file system: the ports Runtime and
// Snapshots of agent/reconcile.
//
// The processes belong to the host, not to the agent: they are sessions of
// their own and outlive it. An agent that comes back finds them by a marker in
// their environment, never by a recorded pid, and checks the marker again on the
// very process that it is about to signal. Each start stands on record in the
// run's directory before it happens, and a wrapper around each JVM writes down
// how it ended, also while no agent lives.
//
// Below Config.Dir:
//
//	runs/<uid>-t<term>-r<run>/
//	  launch.json          what was asked for and the ports, written before anything starts
//	  conf/                config.yaml, log4j.properties
//	  upload/              Flink's web.upload.dir, with the program's jar
//	  starts/<role>        when a process start was begun; role: jm-<n> or tm-<i>-<n>
//	  exits/<role>         its exit status, once it has ended
//	  logs/<role>.{log,out}
//	  tmp/<role>/          removed with the run's processes
//
// It promises: Ensure never starts a second process of one role and never
// brings back a JobManager that once answered; End returns only when no marked
// process is left; the declared memory of all runs here never exceeds
// Config.MemoryTotal. State storage is never deleted from.
//
// It may import flink, flink/config and the standard library. It runs on Linux.
package process
