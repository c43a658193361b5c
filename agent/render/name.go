package render

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Labels of all objects of a run. Values are legal by what names and uids may be.
const (
	LabelManagedBy = "waterwheel.dev/managed-by" // ManagedBy
	LabelCluster   = "waterwheel.dev/cluster"    // uid of the cluster at the hub
	LabelTenant    = "waterwheel.dev/tenant"
	LabelJob       = "waterwheel.dev/job"
	LabelUID       = "waterwheel.dev/uid"
	LabelTerm      = "waterwheel.dev/term"
	LabelRun       = "waterwheel.dev/run"
	LabelComponent = "waterwheel.dev/component" // JobManager or TaskManager; on their own objects alone
)

// Values of labels.
const (
	ManagedBy    = "agent"
	JobManager   = "jobmanager"
	TaskManager  = "taskmanager"
	LocalCluster = "local" // a cluster that has not joined yet
)

// Annotations of all objects of a run but the pods: what it was launched from.
const (
	AnnotationGeneration = "waterwheel.dev/generation"
	AnnotationRestart    = "waterwheel.dev/restart"
	AnnotationSpecHash   = "waterwheel.dev/spec-hash"
)

// ours is the prefix of labels and annotations that nobody else may write.
const ours = "waterwheel.dev/"

// Name is the run's name for all its objects, and Flink's cluster id. It begins
// with a letter, since Services have to: j<uid>-t1-r4.
func Name(run flink.Run) string { return "j" + run.Name() }

// Names of a run's objects. Those that are not here are named Name(run).
func (n names) jobManager() string  { return string(n) + "-jm" }
func (n names) taskManager() string { return string(n) + "-tm" }
func (n names) rest() string        { return string(n) + "-rest" }
func (n names) rpc() string         { return string(n) + "-rpc" }

// names derives the names of a run's objects.
type names string

// JobManagerName is the name of the run's JobManager Deployment.
func JobManagerName(run flink.Run) string { return names(Name(run)).jobManager() }

// TaskManagerName is the name of the run's TaskManager Deployment.
func TaskManagerName(run flink.Run) string { return names(Name(run)).taskManager() }

// RESTName is the name of the run's REST Service, and of the Secret of its keys.
func RESTName(run flink.Run) string { return names(Name(run)).rest() }

// JobServiceName is the name of the Service that leads to a job's current run.
func JobServiceName(job string) string { return job + "-rest" }

// RESTHost is the host name of a run's REST, for which its certificate is made.
func RESTHost(run flink.Run, namespace string) string {
	return RESTName(run) + "." + namespace + ".svc"
}

// Endpoint is the base address of a run's REST.
func Endpoint(run flink.Run, namespace string) string {
	return "https://" + RESTHost(run, namespace) + ":" + strconv.Itoa(config.PortREST)
}

// HighAvailabilitySelector selects the ConfigMaps in which Flink keeps a run's
// high availability data. The label is Flink's; no object of ours has it.
func HighAvailabilitySelector(run flink.Run) map[string]string {
	return map[string]string{"app": Name(run), "type": "flink-native-kubernetes"}
}

// LeaderConfigMap is the name of the ConfigMap by which a run's JobManager leads
// and where the job's graph is on record.
func LeaderConfigMap(run flink.Run) string { return Name(run) + "-cluster-config-map" }

// CheckpointConfigMap is the name of the ConfigMap that records a run's checkpoints.
func CheckpointConfigMap(run flink.Run) string { return Name(run) + "-" + run.JobID() + "-config-map" }

var (
	uidForm  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)
	nameForm = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,43}[a-z0-9])?$`)
	runForm  = regexp.MustCompile(`^j[-a-z0-9]+-t[0-9]+-r[0-9]+$`)
)

// checkNames refuses a launch whose names would not be legal, or would be those
// of another run's objects.
func checkNames(l flink.Launch) error {
	switch {
	case !uidForm.MatchString(l.Run.UID):
		return fmt.Errorf("job uid %q cannot be part of a name: want at most 32 of a-z, 0-9 and -", l.Run.UID)
	case l.Run.Term < 1 || l.Run.Run < 1:
		return fmt.Errorf("%s is no run", l.Run)
	case !nameForm.MatchString(l.Tenant):
		return fmt.Errorf("metadata.tenant: %q cannot be part of a label", l.Tenant)
	}
	return checkJobName(l.Name)
}

func checkJobName(name string) error {
	switch {
	case !nameForm.MatchString(name):
		return fmt.Errorf("metadata.name: %q cannot be the name of a Service", name)
	case runForm.MatchString(name):
		return fmt.Errorf("metadata.name: %q has the form of the names that runs have here: choose another", name)
	}
	return nil
}

// RunOf reads the run that an object belongs to. ok is false for an object that is not of a run.
func RunOf(labels map[string]string) (run flink.Run, ok bool) {
	term, err := strconv.ParseInt(labels[LabelTerm], 10, 32)
	if err != nil {
		return flink.Run{}, false
	}
	n, err := strconv.ParseInt(labels[LabelRun], 10, 32)
	if err != nil {
		return flink.Run{}, false
	}
	run = flink.Run{UID: labels[LabelUID], Term: int32(term), Run: int32(n)}
	if labels[LabelManagedBy] != ManagedBy || run.UID == "" || run.Term < 1 || run.Run < 1 {
		return flink.Run{}, false
	}
	return run, true
}

// Selector selects all objects of a run; with a component, those of it.
func Selector(run flink.Run, component string) map[string]string {
	s := map[string]string{
		LabelUID:  run.UID,
		LabelTerm: strconv.Itoa(int(run.Term)),
		LabelRun:  strconv.Itoa(int(run.Run)),
	}
	if component != "" {
		s[LabelComponent] = component
	}
	return s
}

// labels are those of every object and pod of a run.
func labels(l flink.Launch, cluster, component string) map[string]string {
	out := Selector(l.Run, component)
	out[LabelManagedBy] = ManagedBy
	out[LabelTenant] = l.Tenant
	out[LabelJob] = l.Name
	if cluster == "" {
		cluster = LocalCluster
	}
	out[LabelCluster] = cluster
	return out
}

// dollar keeps the kubelet from reading a reference to a variable into s.
func dollar(s string) string { return strings.ReplaceAll(s, "$", "$$") }
