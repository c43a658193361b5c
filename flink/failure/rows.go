package failure

// rows is the failure table, the more telling rows first: a row further down is
// often what a row further up looks like from outside.
var rows = []Row{
	// The program.
	{
		ID: "wrong-class", Where: []Where{AtStart, InLog}, Tells: true,
		Texts:    []string{"entry point class"},
		Classes:  []string{"ProgramInvocationException"},
		Kind:     Permanent,
		Sentence: "the jar has no class of the name in spec.jar.entryClass; correct the name or the jar",
	},
	{
		ID: "jar-missing", Where: []Where{AtStart, InLog},
		Texts:    []string{".jar (No such file", ".jar does not exist"},
		Kind:     Permanent,
		Sentence: "the jar of spec.jar.uri is not there; put it there or correct the address",
	},
	{
		ID: "jar-damaged", Where: []Where{AtStart, InLog},
		Texts:    []string{"zip END header not found", "zip file is empty", "error in opening zip file"},
		Classes:  []string{"ZipException"},
		Kind:     Permanent,
		Sentence: "the file of spec.jar.uri is no jar, or is damaged; put the right one there",
	},
	{
		ID: "no-main", Where: []Where{AtStart, InLog},
		Texts:    []string{"does not have a main(String[]) method", "main method must be"},
		Classes:  []string{"ProgramInvocationException"},
		Kind:     Permanent,
		Sentence: "the class in spec.jar.entryClass has no public static main(String[]); name the one that has",
	},
	{
		ID:       "no-execute",
		Texts:    []string{"contains no execute() calls", "No jobs included in application", "program aborted pre-maturely", "program plan could not be fetched"},
		Kind:     Permanent,
		Sentence: "main() ends without execute(), so there is no job; the program must call execute() once",
	},
	{
		ID:       "many-executes",
		Texts:    []string{"Cannot have more than one execute()", "Cannot have more than 1 streaming jobs"},
		Kind:     Permanent,
		Sentence: "main() calls execute() more than once; split the program into one job for each",
	},
	{
		ID:       "needs-result",
		Texts:    []string{"in detached mode"},
		Kind:     Permanent,
		Sentence: "main() waits for the result of its job, which a streaming job never has; leave the result alone",
	},
	{
		ID:       "bad-artifact",
		Classes:  []string{"ClassNotFoundException", "NoClassDefFoundError", "NoSuchMethodError", "NoSuchFieldError", "UnsupportedClassVersionError", "InvalidClassException", "IncompatibleClassChangeError"},
		Kind:     Permanent,
		Sentence: "the jar does not fit: a class or method it needs is missing or of another version; rebuild it for this Flink and Java version",
	},
	{
		ID:       "sql",
		Classes:  []string{"SqlParserException", "org.apache.flink.table.api.ValidationException", "SqlGatewayException"},
		Kind:     Permanent,
		Sentence: "the SQL text is refused; correct it",
	},

	// The snapshot it should start from.
	{
		ID:       "snapshot-missing",
		Texts:    []string{"Cannot find checkpoint or savepoint file/directory", "Cannot find meta data file '_metadata'"},
		Kind:     Permanent,
		Sentence: "the snapshot to start from is not there; bring it back and ask `restart`; before a first start spec.startFrom may name another",
	},
	{
		ID:       "snapshot-corrupt",
		Texts:    []string{"Unexpected magic number"},
		Kind:     Permanent,
		Sentence: "the snapshot to start from is damaged or no snapshot at all; start from another",
	},
	{
		ID:       "snapshot-version",
		Texts:    []string{"Unrecognized checkpoint version number"},
		Kind:     Permanent,
		Sentence: "the snapshot was written by a newer Flink; run the job with that flinkVersion",
	},
	{
		ID:       "max-parallelism",
		Texts:    []string{"Max parallelism mismatch"},
		Kind:     Permanent,
		Sentence: "the program's max parallelism differs from that of its state; set it back to the old value",
	},
	{
		ID:       "state-mismatch",
		Texts:    []string{"Cannot map checkpoint/savepoint state"},
		Kind:     Permanent,
		Sentence: "the snapshot has state of an operator that the new program lacks; keep the operators' uids, or bring the operator back",
	},
	{
		ID:       "state-type",
		Classes:  []string{"StateMigrationException"},
		Kind:     Permanent,
		Sentence: "a type in the program no longer fits its saved state; bring the old type back, or give the state a new name",
	},
	{
		ID:       "state-file-missing",
		Classes:  []string{"BackendBuildingException"},
		Kind:     Permanent,
		Sentence: "a file of the snapshot's state cannot be read, though its _metadata is there; start from another snapshot",
	},

	// State storage.
	{
		ID:       "storage-plugin",
		Classes:  []string{"UnsupportedFileSystemSchemeException"},
		Kind:     Permanent,
		Sentence: "Flink has no file system for an address that is used, of the state storage or of the program; add its plugin, or use another",
	},
	{
		ID:       "storage-no-bucket",
		Classes:  []string{"UnknownStoreException", "NoSuchBucketException"},
		Kind:     Permanent,
		Sentence: "the bucket of the state storage does not exist; create it, or correct stateStorage.root",
	},
	{
		ID:       "storage-no-bucket",
		Texts:    []string{"NoSuchBucket"},
		Kind:     Permanent,
		Sentence: "the bucket of the state storage does not exist; create it, or correct stateStorage.root",
	},
	{
		ID:       "storage-denied",
		Classes:  []string{"AmazonS3Exception", "S3Exception"},
		Texts:    []string{"SignatureDoesNotMatch", "AccessDenied", "InvalidAccessKeyId", "Status Code: 403"},
		Kind:     Permanent,
		Sentence: "the state storage refuses the credentials; correct them or the rights they give",
	},
	{
		ID:       "storage-denied",
		Classes:  []string{"AccessDeniedException"},
		Kind:     Permanent,
		Sentence: "the state storage refuses access; correct the credentials or the rights they give",
	},
	{
		ID:       "storage-unreachable",
		Classes:  []string{"AWSClientIOException", "SdkClientException", "HttpHostConnectException"},
		Kind:     Transient,
		Sentence: "the state storage does not answer; it is tried again",
	},
	{
		ID: "savepoint-directory", Where: []Where{AtTrigger},
		Texts:    []string{"Failed to create savepoint directory"},
		Kind:     Transient,
		Sentence: "the savepoint's directory cannot be made; make room or give rights below the savepoints directory",
	},
	{
		ID:       "storage-broken",
		Texts:    []string{"Failed to create checkpoint storage at checkpoint coordinator side"},
		Kind:     Transient,
		Sentence: "the checkpoints directory cannot be made; see that the state storage is there and writable",
	},
	{
		ID: "storage-broken", Where: []Where{AtRestore, AtRunning, AtTrigger, InLog},
		Classes:  []string{"java.nio.file.FileAlreadyExistsException"},
		Kind:     Transient,
		Sentence: "a file stands where a directory of the state storage should be; move it away",
	},
	{
		ID:       "checkpoint-name-taken",
		Texts:    []string{"_metadata already exists"},
		Kind:     Transient,
		Sentence: "another job writes, or wrote, into the same checkpoints directory; the next run gets its own",
	},

	// Checkpoints.
	{
		ID:       "checkpoint-expired",
		Texts:    []string{"Checkpoint expired before completing"},
		Kind:     Transient,
		Sentence: "checkpoints take longer than their timeout; raise execution.checkpointing.timeout, or the parallelism",
	},
	{
		ID:       "checkpoint-io",
		Texts:    []string{"IO-problem detected"},
		Kind:     Transient,
		Sentence: "a checkpoint could not be written; see that the state storage is there and writable",
	},
	{
		ID:       "checkpoint-not-ready",
		Texts:    []string{"Checkpoint was declined (tasks not ready)"},
		Kind:     Transient,
		Sentence: "the tasks were not ready for a checkpoint yet; it is tried again",
	},
	{
		ID: "job-not-executing", Where: []Where{AtTrigger},
		Texts:    []string{"job is currently not executing"},
		Kind:     Transient,
		Sentence: "the job has no running tasks to take a savepoint from; it is tried again when they run",
	},
	{
		ID:       "job-gone",
		Classes:  []string{"FlinkJobNotFoundException"},
		Kind:     Transient,
		Sentence: "the JobManager no longer runs the job",
	},
	{
		ID:       "checkpoints-failing",
		Texts:    []string{"Exceeded checkpoint tolerable failure threshold"},
		Kind:     Transient,
		Sentence: "too many checkpoints failed in a row; the JobManager's log says why",
	},

	// Processes and machines.
	{
		ID:       "out-of-memory",
		Classes:  []string{"OutOfMemoryError"},
		Kind:     Transient,
		Sentence: "a process ran out of memory; raise spec.taskManager.memory",
	},
	{
		ID:       "port-taken",
		Classes:  []string{"BindException"},
		Kind:     Transient,
		Sentence: "a port was taken by another process; the next start gets other ports",
	},
	{
		ID:       "no-slots",
		Classes:  []string{"NoResourceAvailableException"},
		Kind:     Transient,
		Sentence: "there are not enough TaskManager slots; see whether the TaskManagers started",
	},
	{
		ID:       "taskmanager-lost",
		Texts:    []string{"is no longer reachable", "Connection unexpectedly closed by remote task manager"},
		Kind:     Transient,
		Sentence: "a TaskManager ended or cannot be reached; it is replaced",
	},
	{
		ID:       "taskmanager-silent",
		Texts:    []string{"The heartbeat of TaskManager with id"},
		Kind:     Transient,
		Sentence: "a TaskManager stopped answering; it is replaced when it does not come back",
	},
	{
		ID:       "taskmanager-replaced",
		Texts:    []string{"re-registered with a new session id", "Cannot allocate the requested resources"},
		Kind:     Transient,
		Sentence: "a TaskManager of another cluster, or one that restarted, took the place; it is tried again",
	},
	{
		ID:       "taskmanager-unregistered",
		Classes:  []string{"RegistrationTimeoutException"},
		Kind:     Transient,
		Sentence: "a TaskManager found no JobManager to register with and ended; it is replaced",
	},
	{
		ID:       "rpc-timeout",
		Classes:  []string{"AskTimeoutException"},
		Kind:     Transient,
		Sentence: "a call between Flink's processes timed out; see whether the machine is overloaded",
	},
	{
		ID:       "connection-refused",
		Classes:  []string{"java.net.ConnectException", "NoRouteToHostException", "SocketTimeoutException"},
		Kind:     Transient,
		Sentence: "an address the job needs does not answer; it is tried again",
	},

	// What is left of the program: its own exception.
	{
		ID: "main-failed", Where: []Where{AtStart, AtRestore, InLog},
		Classes:  []string{"ProgramInvocationException", "ApplicationExecutionException"},
		Kind:     Permanent,
		Sentence: "main() of the program failed; correct the program or its arguments",
	},
}
