package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Place is where a run is brought up: one host, all on loopback, unless
// Kubernetes is set. Paths are absolute.
type Place struct {
	FlinkVersion string            // of the distribution, in full (2.3.0), or as far as it is known (2.3)
	StateRoot    string            // default root of state: a URI or an absolute path
	Upload       string            // web.upload.dir; the jar stands below it, see JarPath
	Ports        Ports             // of a host; in Kubernetes each pod has an address of its own, and the ports are fixed
	Settings     map[string]string // Flink settings of the place, which a spec may override; reserved ones are left out
	Kubernetes   *Kubernetes       // nil: a host
}

// Ports are the JobManager's, on loopback. TaskManagers choose theirs themselves.
type Ports struct{ REST, RPC, Blob int }

// JarID is the name under which a run's JobManager knows the program's jar.
const JarID = "job.jar"

// JarPath is where the jar has to stand before the JobManager starts.
func JarPath(upload string) string { return upload + "/flink-web-upload/" + JarID }

// The entry points.
const (
	jobManagerMain  = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
	taskManagerMain = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
)

// Config is all that the processes of a run are told.
type Config struct {
	YAML        string // config.yaml
	Log4j       string // log4j.properties
	JobManager  Process
	TaskManager Process
	Dirs        Directories
}

// Process is how one JVM is started.
type Process struct {
	JVM  []string // flags, before the class path
	Main string
	Args []string // after "--configDir DIR"
}

// Instance is one start of a process: what differs between two of the same kind.
type Instance struct {
	ID        string // resource id of a TaskManager, never used twice in a run
	Java      string
	ClassPath string
	ConfDir   string
	TmpDir    string // its own, there before it starts
	LogFile   string // empty: it logs to its console alone
}

// Command is the command line of one start.
func (p Process) Command(i Instance) []string {
	cmd := append([]string{i.Java}, p.JVM...)
	cmd = append(cmd,
		"-Djava.io.tmpdir="+i.TmpDir)
	crash := i.TmpDir + "/java"
	if i.LogFile != "" {
		cmd = append(cmd, "-Dlog.file="+i.LogFile)
		crash = strings.TrimSuffix(i.LogFile, ".log")
	}
	cmd = append(cmd,
		"-Dlog4j.configurationFile=file:"+i.ConfDir+"/log4j.properties",
		"-XX:ErrorFile="+crash+".hs_err",
		"-cp", i.ClassPath, p.Main, "--configDir", i.ConfDir)
	cmd = append(cmd, p.Args...)
	cmd = append(cmd, "-D", "io.tmp.dirs="+i.TmpDir)
	if p.Main == taskManagerMain {
		cmd = append(cmd, "-D", "taskmanager.resource-id="+i.ID)
	}
	return cmd
}

// For writes the configuration of one run. An error says which field of the
// spec cannot be satisfied, and how it could be.
func For(l flink.Launch, place Place) (Config, error) {
	if err := checkName("tenant", l.Tenant); err != nil {
		return Config{}, err
	}
	if err := checkName("job uid", l.Run.UID); err != nil {
		return Config{}, err
	}
	names, err := namesOf(place.FlinkVersion)
	if err != nil {
		return Config{}, err
	}
	c := Config{Log4j: log4j}
	root := StateRoot(l.Spec, place.StateRoot)
	if place.Kubernetes != nil {
		c.Log4j = log4jConsole
		if err := place.Kubernetes.check(l.Spec, root); err != nil {
			return Config{}, err
		}
	}
	if place.Kubernetes == nil || root != "" {
		c.Dirs = Dirs(root, l.Tenant, l.Run)
	}
	s := settingsOf(l.Spec, place, names, c.Dirs)
	c.YAML = s.yaml()
	if c.JobManager, err = jobManager(l.Spec); err != nil {
		return Config{}, err
	}
	if c.TaskManager, err = taskManager(l.Spec, s); err != nil {
		return Config{}, err
	}
	if place.Kubernetes != nil {
		c.JobManager.Args = append(c.JobManager.Args, place.Kubernetes.jobManagerArgs()...)
		c.TaskManager.Args = append(c.TaskManager.Args, place.Kubernetes.taskManagerArgs()...)
	}
	return c, nil
}

// settingsOf puts the settings in the order of who has the last word: the
// product's defaults, the place's, the spec's, and what nobody may change.
func settingsOf(spec flink.Spec, place Place, n names, dirs Directories) settings {
	var s settings
	defaults(&s, spec, n)
	if place.Kubernetes != nil {
		place.Kubernetes.defaults(&s, dirs)
	}
	free(&s, place.Settings)
	free(&s, spec.FlinkConfiguration)
	if k := place.Kubernetes; k != nil {
		k.addresses(&s)
		fixed(&s, spec, place)
		k.highAvailability(&s, dirs)
		k.connections(&s)
	} else {
		hostAddresses(&s, place)
		fixed(&s, spec, place)
		s.set("high-availability.type", "NONE") // a lost JobManager means: this run is over
	}
	state(&s, dirs)
	return s
}

// defaults are settings that a user may change.
func defaults(s *settings, spec flink.Spec, n names) {
	s.set("parallelism.default", strconv.Itoa(int(max(spec.Parallelism, 1))))
	s.set("execution.checkpointing.interval", millis(spec.CheckpointInterval()))
	s.set("execution.checkpointing.num-retained", "3")
	// Flink's own restarts are for what passes within a minute or two. After
	// them the job is FAILED and the agent starts the next run, with a longer
	// back-off and from a snapshot that it has named.
	s.set("restart-strategy.type", "exponential-delay")
	s.set("restart-strategy.exponential-delay.initial-backoff", "500 ms")
	s.set("restart-strategy.exponential-delay.backoff-multiplier", "2.0")
	s.set("restart-strategy.exponential-delay.max-backoff", "20 s")
	s.set("restart-strategy.exponential-delay.jitter-factor", "0.1")
	s.set("restart-strategy.exponential-delay.reset-backoff-threshold", "5 min")
	s.set("restart-strategy.exponential-delay.attempts-before-reset-backoff", "10")
	s.set("heartbeat.interval", "2000")
	s.set("heartbeat.timeout", "12000")
	s.set("metrics.fetcher.update-interval", "1000")
	// A TaskManager that is up before its JobManager would look again after ten
	// seconds only; most of a warm start would be that wait.
	s.set("cluster.registration.error-delay", "500 ms")
	// With all slots there a job starts at once. With some it waits this long
	// for the rest: TaskManagers offer theirs one by one, and a job that begins
	// with the first is rescaled a moment later, which is a second outage and
	// overwrites the proof of what was restored.
	s.set(n.waitTimeout, "5 min")
	s.set(n.stabilizationAtSubmit, "5 s")
	if n.stabilizationWhileRunning != "" {
		s.set(n.stabilizationWhileRunning, "1 s")
	}
	s.set(n.cooldown, "2 s")
}

// free takes settings of a place or a spec, in order of their keys. Validation
// refused the reserved ones; that they are left out here too does not depend on it.
func free(s *settings, given map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if _, reserved := flink.ReservedKey(key); !reserved {
			s.set(key, given[key])
		}
	}
}

// fixed are settings on which promises of Waterwheel rest, wherever a run is.
// Each is reserved, as are those of the functions below.
func fixed(s *settings, spec flink.Spec, place Place) {
	s.set("web.submit.enable", "true")
	s.set("web.upload.dir", place.Upload)
	// State is read from REST after each wake: a cache of three seconds, Flink's
	// default, would make every answer a story of the past.
	s.set("web.refresh-interval", "500")
	s.set("jobmanager.scheduler", "adaptive")
	s.set("taskmanager.numberOfTaskSlots", strconv.Itoa(int(max(spec.TaskManager.Slots, 1))))
	// Without it a TaskManager survives an OutOfMemoryError and keeps the leak.
	s.set("taskmanager.jvm-exit-on-oom", "true")
}

// hostAddresses keep all of a run on loopback.
func hostAddresses(s *settings, place Place) {
	const loopback = "127.0.0.1"
	s.set("jobmanager.rpc.address", loopback)
	s.set("jobmanager.rpc.port", strconv.Itoa(place.Ports.RPC))
	s.set("jobmanager.bind-host", loopback)
	s.set("taskmanager.bind-host", loopback)
	s.set("taskmanager.host", loopback)
	s.set("rest.address", loopback)
	s.set("rest.bind-address", loopback)
	s.set("rest.port", strconv.Itoa(place.Ports.REST))
	s.set("rest.bind-port", strconv.Itoa(place.Ports.REST))
	s.set("blob.server.port", strconv.Itoa(place.Ports.Blob))
}

// state says where checkpoints and savepoints go. Without directories they stay
// in the JobManager's memory and end with it: a job that keeps none may do so.
func state(s *settings, dirs Directories) {
	if dirs == (Directories{}) {
		s.set("execution.checkpointing.storage", "jobmanager")
		return
	}
	s.set("execution.checkpointing.dir", dirs.Checkpoints)
	s.set("execution.checkpointing.savepoint-dir", dirs.Savepoints)
	s.set("execution.checkpointing.create-subdir", "true") // <dir>/<job id>/chk-N is how the newest is found
	s.set("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION")
}

func jobManager(spec flink.Spec) (Process, error) {
	declared, err := memoryOf("spec.jobManager.memory", spec.JobManager.Memory)
	if err != nil {
		return Process{}, err
	}
	m, err := DivideJobManager(declared)
	if err != nil {
		return Process{}, err
	}
	jvm := jvmFlags(declared)
	jvm = append(jvm, megs("-Xmx", m.Heap), megs("-XX:MaxDirectMemorySize=", m.Direct), megs("-XX:MaxMetaspaceSize=", m.Metaspace))
	return Process{JVM: jvm, Main: jobManagerMain}, nil
}

func taskManager(spec flink.Spec, s settings) (Process, error) {
	declared, err := memoryOf("spec.taskManager.memory", spec.TaskManager.Memory)
	if err != nil {
		return Process{}, err
	}
	m, err := DivideTaskManager(declared, s.managedBackend())
	if err != nil {
		return Process{}, err
	}
	jvm := jvmFlags(declared)
	heap := m.FrameworkHeap + m.TaskHeap
	jvm = append(jvm, megs("-Xmx", heap), megs("-Xms", min(heap, 64)),
		megs("-XX:MaxDirectMemorySize=", m.FrameworkOffHeap+m.Network), megs("-XX:MaxMetaspaceSize=", m.Metaspace))
	p := Process{JVM: jvm, Main: taskManagerMain}
	for _, o := range []Entry{
		{"taskmanager.cpu.cores", cores(spec.TaskManager.CPU)},
		{"taskmanager.memory.framework.heap.size", megs("", m.FrameworkHeap)},
		{"taskmanager.memory.framework.off-heap.size", megs("", m.FrameworkOffHeap)},
		{"taskmanager.memory.task.heap.size", megs("", m.TaskHeap)},
		{"taskmanager.memory.task.off-heap.size", "0b"},
		{"taskmanager.memory.network.min", megs("", m.Network)},
		{"taskmanager.memory.network.max", megs("", m.Network)},
		{"taskmanager.memory.managed.size", megs("", m.Managed)},
		{"taskmanager.memory.jvm-metaspace.size", megs("", m.Metaspace)},
		{"taskmanager.memory.jvm-overhead.min", megs("", m.Overhead)},
		{"taskmanager.memory.jvm-overhead.max", megs("", m.Overhead)},
	} {
		p.Args = append(p.Args, "-D", o.Key+"="+o.Value)
	}
	return p, nil
}

// managedBackend reports whether state is kept in managed memory.
func (s *settings) managedBackend() bool {
	return slices.ContainsFunc(s.entries, func(e Entry) bool {
		return (e.Key == "state.backend.type" || e.Key == "state.backend") && !strings.EqualFold(e.Value, "hashmap")
	})
}

// cores is a CPU quantity as Flink wants it. It only weighs slots against each
// other; nothing on a host holds a process to it.
func cores(quantity string) string {
	milli, err := flink.ParseCPU(quantity)
	if err != nil || milli == 0 {
		return "1"
	}
	return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64)
}

func megs(prefix string, n int64) string { return fmt.Sprintf("%s%dm", prefix, n) }

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1)) }
