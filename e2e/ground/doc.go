// Ground shows that the process runtime carries a job's state through the death
// of its Flink cluster, on real Flink: run, kill -9 of JobManager and
// TaskManagers at a random moment, next run from the newest checkpoint, and so
// on; at the end a stop with a savepoint, and the ledger is checked.
//
// It prints one line for each version, with what was seen in the kernel's
// process list, in Flink's REST and in the job's output, and exits with 1 if one
// of them is not as it must be. Logs stay below the artifacts directory.
package main
