package kube_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
	"github.com/waterwheel-io/waterwheel/flink"
)

// server is the one API server of these tests, with the controllers of a real
// cluster and without nodes: pods are made and never scheduled.
var server *apiserver.Server

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) int {
	var err error
	ctx := context.Background() //nolint:forbidigo // of all tests, and of none
	if server, err = apiserver.Start(ctx, apiserver.Options{Controllers: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}

const (
	agentUser = "waterwheel-agent"
	image     = "flink:2.3"
	soon      = 2 * time.Minute // on a machine that is busy with builds; a client may wait for one before it watches again
)

var spaces atomic.Int32

// cluster is two namespaces of one test: the agent's, and that of tenant "team".
type cluster struct {
	t         testing.TB
	api       *rest.Config         // the agent's, with its rights alone
	admin     kubernetes.Interface // everybody's else
	own       string
	namespace string
	place     render.Place
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	cfg, err := kube.Connect(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	n := spaces.Add(1)
	c := &cluster{
		t: t, admin: kubernetes.NewForConfigOrDie(cfg), api: rest.CopyConfig(cfg),
		own: fmt.Sprintf("agent-%d", n), namespace: fmt.Sprintf("team-%d", n),
	}
	c.api.Impersonate = rest.ImpersonationConfig{UserName: agentUser}
	c.place = render.Place{
		Namespace: c.namespace, Images: map[string]string{"2.3": image}, StateRoot: "s3://bucket/state",
		Agent: render.Peer{Namespace: c.own, Labels: map[string]string{"app": "agent"}},
	}
	for _, name := range []string{c.own, c.namespace} {
		if _, err := c.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, account := range []string{render.DefaultJobManagerSA, render.DefaultTaskManagerSA} {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}
		if _, err := c.admin.CoreV1().ServiceAccounts(c.namespace).Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"get", "list", "watch", "create", "patch", "delete"}
	c.grant(c.own,
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"keys"}, Verbs: []string{"get"}})
	c.grant(c.namespace,
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: all},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services", "configmaps"}, Verbs: all},
		rbacv1.PolicyRule{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: all},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "resourcequotas"}, Verbs: []string{"get", "list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}})
	return c
}

// grant gives the agent what its chart gives it in a namespace.
func (c *cluster) grant(namespace string, rules ...rbacv1.PolicyRule) {
	c.t.Helper()
	meta := metav1.ObjectMeta{Name: agentUser}
	if _, err := c.admin.RbacV1().Roles(namespace).Create(c.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: agentUser},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: agentUser}},
	}
	if _, err := c.admin.RbacV1().RoleBindings(namespace).Create(c.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) config() kube.Config {
	return kube.Config{
		API: c.api, Namespace: c.own, Keys: "keys", Tenants: map[string]render.Place{"team": c.place},
		TenantOf: func(string) (string, bool) { return "team", true },
	}
}

// agent is a Runtime that watches, and what it woke.
type agent struct {
	*kube.Runtime
	t testing.TB

	mu   sync.Mutex
	woke map[string]int
}

func (c *cluster) agent(cfg kube.Config) *agent {
	c.t.Helper()
	rt, err := kube.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	a := &agent{Runtime: rt, t: c.t, woke: map[string]int{}}
	ctx, cancel := context.WithCancel(c.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		_ = rt.Run(ctx, func(uid string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.woke[uid]++
		})
	})
	c.t.Cleanup(func() { cancel(); done.Wait() })
	c.eventually("its watches are up", func() string {
		_, _, err := rt.Observe(c.t.Context(), "none")
		return errText(err)
	})
	return a
}

func (a *agent) wakes(uid string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.woke[uid]
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (c *cluster) eventually(what string, wrong func() string) {
	c.t.Helper()
	eventually(c.t, what, wrong)
}

// eventually waits until wrong says nothing any more.
func eventually(t testing.TB, what string, wrong func() string) {
	t.Helper()
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		words := wrong()
		if words == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s: %s", soon, what, words)
		}
	}
}

// take waits for what comes from elsewhere.
func take[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatalf("not within %s: %s", soon, what)
	}
	panic("unreachable")
}

// uid makes the uid of a job, 32 digits.
func uid(n int) string { return fmt.Sprintf("%032x", n) }

func launchOf(uid string, run int32) flink.Launch {
	spec := flink.Default(flink.Spec{
		FlinkVersion: "2.3", Jar: flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "M"}, Parallelism: 4,
		JobManager:  flink.Resources{CPU: "0.5", Memory: "1Gi"},
		TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "1", Memory: "1Gi"}, Slots: 2},
	})
	return flink.Launch{Run: flink.Run{UID: uid, Term: 1, Run: run}, Tenant: "team", Name: "clicks", Spec: spec, Generation: 3, Restart: 1}
}

// ensure brings a run up, and returns when this agent's own watches show it as it was made. They may lag behind, so that
// one call puts back nothing of what was deleted just now: passes do it again, and so does this.
func (a *agent) ensure(l flink.Launch) {
	a.t.Helper()
	eventually(a.t, "run "+l.Run.Name()+" is seen as it was made", func() string {
		switch err := a.Ensure(a.t.Context(), l); {
		case strings.Contains(errText(err), "cannot be seen"): // a watch ended, and there is no other yet
			return errText(err)
		case err != nil:
			a.t.Fatal(err)
		}
		o, _ := a.look(l.Run)
		if o.Launch == nil || len(o.Drift) != 0 {
			return fmt.Sprintf("launch %+v, drift %v", o.Launch, o.Drift)
		}
		return ""
	})
}

// look observes a job, as soon as its namespace can be seen, and finds one run of it.
func (a *agent) look(run flink.Run) (flink.RunObserved, bool) {
	a.t.Helper()
	var runs []flink.RunObserved
	eventually(a.t, "the namespace is seen", func() string {
		var err error
		runs, _, err = a.Observe(a.t.Context(), run.UID)
		return errText(err)
	})
	i := slices.IndexFunc(runs, func(o flink.RunObserved) bool { return o.Run == run })
	if i < 0 {
		return flink.RunObserved{}, false
	}
	return runs[i], true
}

// versions are the resource versions of all objects of ours in the namespace but the pods.
func (c *cluster) versions() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	o := metav1.ListOptions{LabelSelector: render.LabelManagedBy + "=" + render.ManagedBy}
	add := func(err error, all ...metav1.Object) {
		if err != nil {
			c.t.Fatal(err)
		}
		for _, x := range all {
			out[fmt.Sprintf("%T %s", x, x.GetName())] = string(x.GetUID()) + "/" + x.GetResourceVersion()
		}
	}
	cms, err := c.admin.CoreV1().ConfigMaps(c.namespace).List(c.t.Context(), o)
	add(err)
	for i := range cms.Items {
		add(nil, &cms.Items[i])
	}
	services, err := c.admin.CoreV1().Services(c.namespace).List(c.t.Context(), o)
	add(err)
	for i := range services.Items {
		add(nil, &services.Items[i])
	}
	secrets, err := c.admin.CoreV1().Secrets(c.namespace).List(c.t.Context(), o)
	add(err)
	for i := range secrets.Items {
		add(nil, &secrets.Items[i])
	}
	policies, err := c.admin.NetworkingV1().NetworkPolicies(c.namespace).List(c.t.Context(), o)
	add(err)
	for i := range policies.Items {
		add(nil, &policies.Items[i])
	}
	ds, err := c.admin.AppsV1().Deployments(c.namespace).List(c.t.Context(), o)
	add(err)
	for i := range ds.Items {
		d := &ds.Items[i]
		add(nil, d)
		out[fmt.Sprintf("%T %s", d, d.Name)] = fmt.Sprintf("%s/%d", d.UID, d.Generation) // its status is its controller's
	}
	return out
}

// pods are those of one run.
func (c *cluster) pods(run flink.Run) []corev1.Pod {
	c.t.Helper()
	list, err := c.admin.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{
		LabelSelector: fmt.Sprintf("%s=%s,%s=%d", render.LabelUID, run.UID, render.LabelRun, run.Run),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

// beingDeleted says why a pod of a run is not one that is being deleted. Others of its run may stay as long as it does:
// the garbage collector looks at one that it came to know late when another has gone.
func (c *cluster) beingDeleted(run flink.Run, pod string) string {
	c.t.Helper()
	for _, p := range c.pods(run) {
		if p.Name == pod && p.DeletionTimestamp != nil {
			return ""
		}
	}
	return "it is not being deleted"
}

// flinkMaps makes the ConfigMaps that a JobManager of a run keeps, with the checkpoints named.
func (c *cluster) flinkMaps(run flink.Run, checkpoints ...int64) {
	c.t.Helper()
	record := map[string]string{"counter": "99"}
	for _, n := range checkpoints {
		record[fmt.Sprintf("checkpointID-%019d", n)] = "rO0ABXNy"
	}
	for name, data := range map[string]map[string]string{
		render.LeaderConfigMap(run):     {"leader.dispatcher": "x", "executionPlan-" + run.JobID(): "rO0ABXNy"},
		render.CheckpointConfigMap(run): record,
	} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: render.HighAvailabilitySelector(run),
			Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": `{"holderIdentity":"a","leaseDuration":15.0,"acquireTime":"2026-01-02T03:04:05.678901Z","renewTime":"2026-01-02T03:14:05.678901Z","leaderTransitions":1}`},
		}, Data: data}
		if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Create(c.t.Context(), cm, metav1.CreateOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// maps are the names of all ConfigMaps of a run, Flink's too.
func (c *cluster) maps(run flink.Run) []string {
	c.t.Helper()
	list, err := c.admin.CoreV1().ConfigMaps(c.namespace).List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		if name := list.Items[i].Name; name == render.Name(run) || strings.HasPrefix(name, render.Name(run)+"-") {
			out = append(out, name)
		}
	}
	return out
}

// line can be cut: then the API server cannot be reached.
type line struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		if l.conns == nil {
			l.conns = map[net.Conn]bool{}
		}
		l.conns[conn] = true
	}
	return conn, err
}

func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for conn := range maps.Keys(l.conns) {
			_ = conn.Close()
		}
		clear(l.conns)
	}
}
