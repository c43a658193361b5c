package scene

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/agent/rbac"
	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
)

// The place of every scene: the agent's namespace, and that of its one tenant.
const (
	Own       = "waterwheel"
	Tenant    = "team"
	Namespace = "team"
)

// AgentUser is by what the audit log knows the agent.
const AgentUser = "system:serviceaccount:" + Own + ":" + string(rbac.Agent)

// auditPolicy has one line written for each finished request, without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

const (
	knownLimit = time.Minute // for a new kind to be served
	tokenLife  = 24 * time.Hour
	poll       = 50 * time.Millisecond
)

// FlinkJobs are the agent's records in the API.
func FlinkJobs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "agent.waterwheel.dev", Version: "v1", Resource: "flinkjobs"}
}

// Cluster is an API server furnished as the agent's chart does it.
type Cluster struct {
	*apiserver.Server

	Admin  *rest.Config // of whoever is not the agent
	Client kubernetes.Interface
	Any    dynamic.Interface
}

// NewCluster starts a server with an audit log until Stop. ctx bounds the start
// alone. With controllers, Deployments get pods, which nobody runs.
func NewCluster(ctx context.Context, controllers bool) (*Cluster, error) {
	server, err := apiserver.Start(ctx, apiserver.Options{Controllers: controllers, AuditPolicy: auditPolicy})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Server: server}
	if err := c.furnish(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) furnish(ctx context.Context) error {
	var err error
	if c.Admin, err = kube.Connect(c.Kubeconfig); err != nil {
		return err
	}
	c.Admin.QPS, c.Admin.UserAgent = -1, "scene"
	if c.Client, err = kubernetes.NewForConfig(c.Admin); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if c.Any, err = dynamic.NewForConfig(c.Admin); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if err := c.Namespaces(ctx, Own, Namespace); err != nil {
		return err
	}
	for namespace, names := range map[string][]rbac.Holder{Own: {rbac.Agent}, Namespace: {rbac.JobManager, rbac.TaskManager}} {
		for _, name := range names {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: string(name)}}
			if _, err := c.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("make ServiceAccount %s: %w", name, err)
			}
		}
	}
	if err := c.grant(ctx); err != nil {
		return err
	}
	return c.teach(ctx)
}

// Namespaces makes namespaces.
func (c *Cluster) Namespaces(ctx context.Context, names ...string) error {
	for _, name := range names {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	return nil
}

// grant gives the agent what its chart gives it.
func (c *Cluster) grant(ctx context.Context) error {
	roles := rbac.Roles(rbac.Installation{Namespace: Own, Tenants: []rbac.TenantPlace{{Name: Tenant, Namespace: Namespace}}})
	for _, r := range roles {
		if r.Metadata.Name != string(rbac.Agent) {
			continue // no pod runs
		}
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: r.Metadata.Name}}
		for _, rule := range r.Rules {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{
				APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames, Verbs: rule.Verbs,
			})
		}
		if _, err := c.Client.RbacV1().Roles(r.Metadata.Namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make Role %s: %w", role.Name, err)
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Own, Name: string(rbac.Agent)}},
		}
		if _, err := c.Client.RbacV1().RoleBindings(r.Metadata.Namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make RoleBinding %s: %w", role.Name, err)
		}
	}
	return nil
}

// teach has the API server know FlinkJob.
func (c *Cluster) teach(ctx context.Context) error {
	var crd unstructured.Unstructured
	if err := yaml.Unmarshal(store.CRD(), &crd.Object); err != nil {
		return fmt.Errorf("read the CustomResourceDefinition: %w", err)
	}
	kinds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := c.Any.Resource(kinds).Create(ctx, &crd, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the CustomResourceDefinition: %w", err)
	}
	return Until(ctx, knownLimit, func(ctx context.Context) error {
		_, err := c.Any.Resource(FlinkJobs()).Namespace(Own).List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
}

// Agent is the API server as the agent reaches it: by its account's token.
func (c *Cluster) Agent(ctx context.Context) (*rest.Config, error) {
	token, err := c.Client.CoreV1().ServiceAccounts(Own).CreateToken(ctx, string(rbac.Agent), &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenLife / time.Second))},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make the agent's token: %w", err)
	}
	cfg := rest.AnonymousClientConfig(c.Admin)
	cfg.BearerToken = token.Status.Token
	return cfg, nil
}

// Until asks again until there is no error any more.
func Until(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; the last try: %w", context.Cause(ctx), err)
		}
	}
}
