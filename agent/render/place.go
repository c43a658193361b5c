package render

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Place is what the cluster's owner says about the namespace of a tenant: the
// values of the agent's chart.
type Place struct {
	Namespace string
	Cluster   string // uid of this cluster at the hub; empty: it has not joined

	Images           map[string]string // Flink version ("2.3") → image; spec.image wins
	ImagePullPolicy  corev1.PullPolicy // empty: IfNotPresent
	ImagePullSecrets []string
	Accounts         Accounts
	Credentials      Credentials
	TmpSize          string // most that a pod may write to /tmp; empty: DefaultTmpSize

	// CPULimitFactor is by how much a process may exceed its declared CPU while
	// others leave some idle, as a multiple of it: 1 (or 0) not at all, which makes
	// what a job gets the same on a busy and an idle node. A JVM that starts wants
	// far more than one that runs, so small jobs start many times faster with more.
	CPULimitFactor float64

	StateRoot string            // default of spec.stateStorage.root
	Settings  map[string]string // Flink settings that a spec may override
	Lease     config.Lease      // of JobManagers; zero: config.DefaultLease

	JobManager  corev1.PodTemplateSpec // what is added to pods, merged by container name; see merge
	TaskManager corev1.PodTemplateSpec

	Agent             Peer     // who may reach REST
	MetricsNamespaces []string // which may reach the metrics' port; empty: all
}

// Accounts are the ServiceAccounts of a run's pods. Empty: DefaultAccounts.
type Accounts struct{ JobManager, TaskManager string }

// Credentials are keys of a Secret in the tenant's namespace that processes of
// Flink get as environment variables of the same names: those of the state
// storage. The Secret itself is read by kubelet alone.
type Credentials struct {
	Secret string   // empty: none, the pods' account has the right itself
	Keys   []string // empty: those of S3
}

// Peer selects the agent's pods.
type Peer struct {
	Namespace string
	Labels    map[string]string
}

// What a place is unless it says otherwise.
const (
	DefaultTmpSize       = "10Gi"
	DefaultJobManagerSA  = "waterwheel-jobmanager"
	DefaultTaskManagerSA = "waterwheel-taskmanager"
	PortMetrics          = 9249
	portNameMetrics      = "metrics"
	maxCPULimitFactor    = 100
	portNameREST         = "rest"
)

// withDefaults fills in what is left open.
func (p Place) withDefaults() Place {
	fill(&p.TmpSize, DefaultTmpSize)
	fill(&p.Accounts.JobManager, DefaultJobManagerSA)
	fill(&p.Accounts.TaskManager, DefaultTaskManagerSA)
	if p.ImagePullPolicy == "" {
		p.ImagePullPolicy = corev1.PullIfNotPresent
	}
	if p.CPULimitFactor == 0 {
		p.CPULimitFactor = 1
	}
	if len(p.Credentials.Keys) == 0 {
		p.Credentials.Keys = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
	}
	return p
}

// check refuses a place whose objects would not be what they are meant to be.
func (p Place) check() error {
	switch {
	case p.Namespace == "":
		return errors.New("the place names no namespace")
	case p.Agent.Namespace == "" || len(p.Agent.Labels) == 0:
		return errors.New("the place does not name the agent's pods: nobody, or everybody, could reach REST")
	}
	if size, err := resource.ParseQuantity(p.TmpSize); err != nil || size.Sign() <= 0 {
		return fmt.Errorf("the most that a pod may write to /tmp is %q: want a quantity such as %q", p.TmpSize, DefaultTmpSize)
	}
	if f := p.CPULimitFactor; !(f >= 1 && f <= maxCPULimitFactor) {
		return fmt.Errorf("the CPU limit's factor is %g: want 1 to %d", f, maxCPULimitFactor)
	}
	return nil
}

func fill(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
