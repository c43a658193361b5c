package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/kube/lease"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Kinds of runtime.
const (
	kindProcess    = "process"
	kindKubernetes = "kubernetes"
)

// KubernetesConfig is a Kubernetes cluster as the place where runs live, as the
// agent's chart writes it.
type KubernetesConfig struct {
	Namespace  string         `yaml:"namespace"`  // the agent's own
	Kubeconfig string         `yaml:"kubeconfig"` // empty: the pod's own account
	Secrets    SecretNames    `yaml:"secrets"`
	Records    string         `yaml:"records"` // ConfigMap of what is on record beside the jobs
	Election   ElectionConfig `yaml:"election"`

	Images          map[string]string `yaml:"images"` // by Flink version, such as "2.3"
	ImagePullPolicy string            `yaml:"imagePullPolicy"`
	ServiceAccounts AccountNames      `yaml:"serviceAccounts"`
	CPULimitFactor  float64           `yaml:"cpuLimitFactor"` // by how much a process may exceed its declared CPU; default 1
	Lease           LeaseConfig       `yaml:"lease"`          // of JobManagers
	PodTemplate     PodTemplates      `yaml:"podTemplate"`
	Tenants         []TenantConfig    `yaml:"tenants"`
	MetricsFrom     []string          `yaml:"metricsNamespaces"` // which may reach the metrics of Flink; empty: all
}

// SecretNames are Secrets in the agent's namespace.
type SecretNames struct {
	Identity string `yaml:"identity"` // its key and certificate
	Keys     string `yaml:"keys"`     // from which the keys of runs are derived
	Join     string `yaml:"join"`     // the join token; deleted after use
}

// AccountNames are the ServiceAccounts of a run's pods.
type AccountNames struct {
	JobManager  string `yaml:"jobManager"`
	TaskManager string `yaml:"taskManager"`
}

// ElectionConfig is the Lease by which one of the agent's replicas acts.
type ElectionConfig struct {
	Lease       string `yaml:"lease"`
	LeaseConfig `yaml:",inline"`
}

// LeaseConfig is how long a leader leads without renewing.
type LeaseConfig struct {
	Duration      time.Duration `yaml:"duration"`
	RenewDeadline time.Duration `yaml:"renewDeadline"`
	RetryPeriod   time.Duration `yaml:"retryPeriod"`
}

// PodTemplates are added to the pods of runs, merged by container name.
type PodTemplates struct {
	JobManager  map[string]any `yaml:"jobManager"`
	TaskManager map[string]any `yaml:"taskManager"`
}

// TenantConfig is a tenant of the hub whose jobs may run here.
type TenantConfig struct {
	Name             string            `yaml:"name"`
	Namespace        string            `yaml:"namespace"`
	StateStorage     StorageConfig     `yaml:"stateStorage"` // default: the agent's
	Credentials      CredentialsConfig `yaml:"credentials"`
	Settings         map[string]string `yaml:"settings"` // Flink configuration that a job may override
	ImagePullSecrets []string          `yaml:"imagePullSecrets"`
}

// CredentialsConfig names a Secret in the tenant's namespace.
type CredentialsConfig struct {
	Secret string   `yaml:"secret"`
	Keys   []string `yaml:"keys"` // default: those of S3
}

func (c *KubernetesConfig) setDefaults() {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&c.Secrets.Identity, "waterwheel-agent-identity")
	fill(&c.Secrets.Keys, "waterwheel-agent-keys")
	fill(&c.Secrets.Join, "waterwheel-agent-join")
	fill(&c.Records, "waterwheel-agent-records")
	fill(&c.Election.Lease, "waterwheel-agent")
	c.Election.setDefaults(lease.Duration, lease.RenewDeadline, lease.RetryPeriod)
	for i := range c.Tenants {
		fill(&c.Tenants[i].Namespace, c.Tenants[i].Name)
	}
}

func (c *LeaseConfig) setDefaults(duration, deadline, retry time.Duration) {
	if *c == (LeaseConfig{}) {
		*c = LeaseConfig{Duration: duration, RenewDeadline: deadline, RetryPeriod: retry}
	}
}

// validate names every fault at once.
func (c KubernetesConfig) validate() []error {
	var errs []error
	need := func(ok bool, field, remedy string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("runtime.kubernetes.%s: %s", field, fmt.Sprintf(remedy, args...)))
		}
	}
	need(c.Namespace != "", "namespace", "name the agent's own namespace")
	need(len(c.Images) > 0, "images", "name the image of at least one Flink version")
	need(slices.Contains([]string{"", "Always", "IfNotPresent", "Never"}, c.ImagePullPolicy), "imagePullPolicy", "%q is none of Always, IfNotPresent, Never", c.ImagePullPolicy)
	e := c.Election
	need(e.RetryPeriod > 0 && e.RetryPeriod < e.RenewDeadline && e.RenewDeadline < e.Duration, "election",
		"retryPeriod %s, renewDeadline %s and duration %s have to grow in this order", e.RetryPeriod, e.RenewDeadline, e.Duration)
	if l := c.Lease; l != (LeaseConfig{}) {
		need(l.RetryPeriod > 0 && l.RetryPeriod < l.RenewDeadline && l.RenewDeadline < l.Duration, "lease",
			"retryPeriod %s, renewDeadline %s and duration %s have to grow in this order", l.RetryPeriod, l.RenewDeadline, l.Duration)
	}
	seen := map[string]string{}
	for i, t := range c.Tenants {
		field := fmt.Sprintf("tenants[%d]", i)
		need(t.Name != "", field+".name", "name a tenant of the hub")
		need(len(validation.IsDNS1123Label(t.Namespace)) == 0, field+".namespace", "%q is not the name of a namespace", t.Namespace)
		other, twice := seen[t.Name]
		need(!twice, field+".name", "%q stands in %s too", t.Name, other)
		seen[t.Name] = field
		need(t.Namespace != c.Namespace, field+".namespace", "%q is the agent's own: jobs must not stand beside its keys", t.Namespace)
		for _, key := range slices.Sorted(maps.Keys(t.Settings)) {
			why, reserved := flink.ReservedKey(key)
			need(!reserved, fmt.Sprintf("%s.settings[%s]", field, key), "is reserved: %s", why)
		}
	}
	for _, part := range []struct {
		name, component string
		template        map[string]any
	}{{"jobManager", render.JobManager, c.PodTemplate.JobManager}, {"taskManager", render.TaskManager, c.PodTemplate.TaskManager}} {
		t, err := podTemplate(part.template)
		if err == nil {
			err = render.CheckTemplate(part.component, t)
		}
		need(err == nil, "podTemplate."+part.name, "%v", err)
	}
	return errs
}

// places are where the runs of each tenant are written down for. stateRoot is the
// root of jobs and tenants that name none, agent by what the agent's pods are known.
func (c KubernetesConfig) places(stateRoot string, agent map[string]string) (map[string]render.Place, error) {
	jobManager, err := podTemplate(c.PodTemplate.JobManager)
	if err != nil {
		return nil, fmt.Errorf("runtime.kubernetes.podTemplate.jobManager: %w", err)
	}
	taskManager, err := podTemplate(c.PodTemplate.TaskManager)
	if err != nil {
		return nil, fmt.Errorf("runtime.kubernetes.podTemplate.taskManager: %w", err)
	}
	out := make(map[string]render.Place, len(c.Tenants))
	for _, t := range c.Tenants {
		root := t.StateStorage.Root
		if root == "" {
			root = stateRoot
		}
		out[t.Name] = render.Place{
			Namespace: t.Namespace, Images: c.Images, ImagePullPolicy: corev1.PullPolicy(c.ImagePullPolicy), ImagePullSecrets: t.ImagePullSecrets, CPULimitFactor: c.CPULimitFactor,
			Accounts:    render.Accounts{JobManager: c.ServiceAccounts.JobManager, TaskManager: c.ServiceAccounts.TaskManager},
			Credentials: render.Credentials{Secret: t.Credentials.Secret, Keys: t.Credentials.Keys},
			StateRoot:   root, Settings: maps.Clone(t.Settings),
			Lease:      config.Lease{Duration: c.Lease.Duration, RenewDeadline: c.Lease.RenewDeadline, RetryPeriod: c.Lease.RetryPeriod},
			JobManager: jobManager, TaskManager: taskManager,
			Agent:             render.Peer{Namespace: c.Namespace, Labels: agent},
			MetricsNamespaces: c.MetricsFrom,
		}
	}
	return out, nil
}

// podTemplate reads what the agent's file says of a pod, strictly.
func podTemplate(in map[string]any) (corev1.PodTemplateSpec, error) {
	var out corev1.PodTemplateSpec
	if len(in) == 0 {
		return out, nil
	}
	text, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("it cannot be written as JSON: %w", err)
	}
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		return out, errors.Join(errors.New("it is no pod template"), err)
	}
	return out, nil
}
