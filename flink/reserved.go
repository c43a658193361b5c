package flink

import "strings"

// reserved says which Flink keys belong to Waterwheel, and why. A key that ends
// in a dot or a hyphen stands for all keys that begin with it. The first match counts.
var reserved = []struct{ key, why string }{
	{"parallelism.default", "set spec.parallelism"},
	{"taskmanager.numberOfTaskSlots", "set spec.taskManager.slots"},
	{"jobmanager.memory.", "set spec.jobManager.memory: the parts follow from it"},
	{"jobmanager.heap.", "set spec.jobManager.memory: the parts follow from it"},
	{"taskmanager.memory.", "set spec.taskManager.memory: the parts follow from it"},
	{"taskmanager.heap.", "set spec.taskManager.memory: the parts follow from it"},
	{"taskmanager.cpu.cores", "set spec.taskManager.cpu"},
	{"execution.checkpointing.interval", "set spec.checkpointing.interval"},
	{"execution.checkpointing.dir", "set spec.stateStorage.root: each run has a directory of its own below it"},
	{"execution.checkpointing.savepoint-dir", "set spec.stateStorage.root: savepoints are kept below it"},
	{"execution.checkpointing.externalized-checkpoint-retention", "checkpoints are kept: the next run starts from them"},
	{"execution.checkpointing.create-subdir", "each run has a directory of its own, which must be laid out one way"},
	{"execution.checkpointing.storage", "checkpoints go to spec.stateStorage.root: the next run starts from them"},
	{"state.checkpoints.dir", "set spec.stateStorage.root: each run has a directory of its own below it"},
	{"state.savepoints.dir", "set spec.stateStorage.root: savepoints are kept below it"},
	{"state.checkpoints.create-subdir", "each run has a directory of its own, which must be laid out one way"},
	{"state.checkpoint-storage", "checkpoints go to spec.stateStorage.root: the next run starts from them"},
	{"execution.savepoint.", "where a run starts from is Waterwheel's to say: for a first start set spec.startFrom.snapshot"},
	{"execution.savepoint-", "where a run starts from is Waterwheel's to say: for a first start set spec.startFrom.snapshot"},
	{"execution.state-recovery.", "where a run starts from is Waterwheel's to say: for a first start set spec.startFrom.snapshot"},
	{"high-availability", "Waterwheel keeps each run's high availability data apart from every other's"},
	{"high-availability.", "Waterwheel keeps each run's high availability data apart from every other's"},
	{"job-result-store.", "the end of each run is recorded by Waterwheel"},
	{"cluster.id", "each run is a Flink cluster of its own, named by Waterwheel"},
	{"kubernetes.", "the objects of a run are made by Waterwheel"},
	{"yarn.", "Waterwheel does not run Flink on YARN"},
	{"rest.", "the REST endpoint belongs to the agent alone, since it executes code"},
	{"web.submit.enable", "programs are handed in by the agent alone"},
	{"web.cancel.enable", "jobs are stopped by the agent alone, so that their state is kept"},
	{"web.rescale.enable", "set spec.parallelism"},
	{"web.refresh-interval", "the agent decides by what REST says, which must be of now"},
	{"web.upload.dir", "the program's jar is put there by the agent"},
	{"web.tmpdir", "each run has temporary directories of its own"},
	{"web.port", "ports are given out by Waterwheel, so that runs do not collide"},
	{"web.address", "the REST endpoint belongs to the agent alone, since it executes code"},
	{"jobmanager.web.", "the REST endpoint belongs to the agent alone, since it executes code"},
	{"jobmanager.rpc.", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"jobmanager.bind-host", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"jobmanager.resource-id", "the processes of a run are named by Waterwheel"},
	{"taskmanager.rpc.", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"taskmanager.host", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"taskmanager.bind-host", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"taskmanager.data.port", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"taskmanager.data.bind-port", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"taskmanager.resource-id", "the processes of a run are named by Waterwheel"},
	{"taskmanager.jvm-exit-on-oom", "a process out of memory must end, so that another takes its place"},
	{"taskmanager.collect-sink.port", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"metrics.internal.query-service.port", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"queryable-state.", "queryable state opens ports that Waterwheel does not give out"},
	{"blob.", "the program's jar is handed from process to process in directories and over ports of Waterwheel's choosing"},
	{"jobmanager.scheduler", "how a run is scheduled follows from spec.parallelism"},
	{"scheduler-mode", "how a run is scheduled follows from spec.parallelism"},
	{"jobmanager.execution.failover-strategy", "how a run heals is Waterwheel's to say"},
	{"jobmanager.archive.fs.dir", "the end of each run is recorded by Waterwheel"},
	{"io.tmp.dirs", "each run has temporary directories of its own"},
	{"process.", "each run has working directories of its own"},
	{"jobmanager.process.", "each run has working directories of its own"},
	{"taskmanager.process.", "each run has working directories of its own"},
	{"env.", "the processes of a run, their Java options and their logs are Waterwheel's to set"},
	{"pipeline.jars", "set spec.jar.uri"},
	{"pipeline.classpaths", "set spec.jar.uri"},
	{"pipeline.jobvertex-parallelism-overrides", "set spec.parallelism"},
	{"pipeline.fixed-job-id", "each run has a job id of its own, given by Waterwheel"},
	{"$internal.", "it is not meant to be set by anybody"},
	{"internal.", "it is not meant to be set by anybody"},
	{"execution.target", "where a job runs is set by spec.cluster"},
	{"execution.attached", "programs are handed in by the agent"},
	{"execution.shutdown-on-application-finish", "a run ends when Waterwheel has recorded its end"},
	{"execution.shutdown-on-attached-exit", "a run ends when Waterwheel has recorded its end"},
	{"execution.submit-failed-job-on-application-error", "the end of each run is recorded by Waterwheel"},
	{"security.ssl.", "the keys of a run's connections are made by Waterwheel"},
	{"pekko.remote.", "addresses and ports are given out by Waterwheel, so that runs do not collide"},
	{"pekko.ssl.", "the keys of a run's connections are made by Waterwheel"},
}

// renamed are keys of older Flink versions that each supported version knows by a newer name.
var renamed = []struct{ old, now string }{
	{"akka.", "pekko."},
	{"state.backend", "state.backend.type"},
	{"state.backend.incremental", "execution.checkpointing.incremental"},
	{"state.checkpoints.num-retained", "execution.checkpointing.num-retained"},
	{"state.storage.fs.memory-threshold", "execution.checkpointing.data-inline-threshold"},
	{"state.storage.fs.write-buffer-size", "execution.checkpointing.write-buffer-size"},
	{"execution.checkpointing.unaligned", "execution.checkpointing.unaligned.enabled"},
	{"execution.buffer-timeout", "execution.buffer-timeout.interval"},
	{"restart-strategy", "restart-strategy.type"},
}

// reservedWhy says why a key may not be set; empty: it may.
func reservedWhy(key string) string {
	for _, r := range reserved {
		if key == r.key || strings.HasSuffix(r.key, ".") && strings.HasPrefix(key, r.key) ||
			strings.HasSuffix(r.key, "-") && strings.HasPrefix(key, r.key) {
			return r.why
		}
	}
	return ""
}

// renamedTo is the name that an old key has now; empty: it is not an old one.
func renamedTo(key string) string {
	for _, r := range renamed {
		if key == r.old {
			return r.now
		}
		if rest, ok := strings.CutPrefix(key, r.old); ok && strings.HasSuffix(r.old, ".") {
			return r.now + rest
		}
	}
	return ""
}

// ReservedKey reports whether a spec may not set a Flink key, and why.
func ReservedKey(key string) (why string, reserved bool) {
	why = reservedWhy(key)
	return why, why != ""
}
