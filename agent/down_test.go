package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/lease"
	"github.com/waterwheel-io/waterwheel/agent/kube/store"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	agentSpace  = "ww"
	tenantSpace = "team"
	soon        = 2 * time.Minute // on a machine that is busy with builds
)

// land is a cluster in which the chart was installed: its namespaces, accounts and Roles, and the agent's file.
type land struct {
	t    *testing.T
	url  string
	http *http.Client // of an administrator
	cfg  Config       // with the agent's rights alone
}

func newLand(t *testing.T) *land {
	t.Helper()
	server := apiserver.ForTest(t, apiserver.Options{Controllers: true})
	l := &land{t: t, url: server.URL}
	text, err := os.ReadFile(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var kubeconfig struct {
		Clusters []struct {
			Cluster struct {
				CA []byte `json:"certificate-authority-data"`
			}
		}
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			}
		}
	}
	if err := yaml.Unmarshal(text, &kubeconfig); err != nil {
		t.Fatal(err)
	}
	u := kubeconfig.Users[0].User
	pair, err := tls.X509KeyPair(u.Certificate, u.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(kubeconfig.Clusters[0].Cluster.CA)
	l.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}}
	limited := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(limited, impersonating(t, text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.cfg = Config{StateStorage: StorageConfig{Root: "s3://bucket/state"}, Runtime: RuntimeConfig{Kind: kindKubernetes, Kubernetes: KubernetesConfig{
		Namespace: agentSpace, Kubeconfig: limited, Images: map[string]string{"2.3": "flink:2.3"},
		Tenants: []TenantConfig{{Name: "team", Namespace: tenantSpace}},
		// Short, and yet not lost on a machine that stands still for some seconds.
		Election: ElectionConfig{LeaseConfig: LeaseConfig{Duration: 12 * time.Second, RenewDeadline: 9 * time.Second, RetryPeriod: time.Second}},
	}}}
	l.cfg.Runtime.Kubernetes.setDefaults()
	l.install()
	return l
}

// impersonating is an administrator's kubeconfig as that of the agent's account.
func impersonating(t *testing.T, text []byte) []byte {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	all["users"].([]any)[0].(map[string]any)["user"].(map[string]any)["as"] = "the-agent"
	out, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *land) install() {
	for _, name := range []string{agentSpace, tenantSpace} {
		l.create("/api/v1/namespaces", fmt.Sprintf("{metadata: {name: %s}}", name))
	}
	for _, name := range []string{render.DefaultJobManagerSA, render.DefaultTaskManagerSA} {
		l.create("/api/v1/namespaces/"+tenantSpace+"/serviceaccounts", fmt.Sprintf("{metadata: {name: %s}}", name))
	}
	for namespace, file := range map[string]string{agentSpace: "agent-own", tenantSpace: "agent-tenant"} {
		text, err := os.ReadFile(filepath.Join("..", "charts", "waterwheel-agent", "files", "rules", file+".yaml"))
		if err != nil {
			l.t.Fatal(err)
		}
		var rules []any
		if err := yaml.Unmarshal(text, &rules); err != nil {
			l.t.Fatal(err)
		}
		role, err := yaml.Marshal(map[string]any{"metadata": map[string]any{"name": "agent"}, "rules": rules})
		if err != nil {
			l.t.Fatal(err)
		}
		at := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
		l.create(at+"/roles", string(role))
		l.create(at+"/rolebindings", `{metadata: {name: agent}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: agent},
  subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: the-agent}]}`)
	}
	l.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", string(store.CRD()))
	l.await("FlinkJob is known", func() bool {
		code, _ := l.do(http.MethodGet, flinkJobs, "")
		return code == http.StatusOK
	})
}

const flinkJobs = "/apis/agent.waterwheel.dev/v1/namespaces/" + agentSpace + "/flinkjobs"

// do asks the API server as an administrator. The body is YAML.
func (l *land) do(method, path, body string) (int, []byte) {
	l.t.Helper()
	text, err := yaml.YAMLToJSON([]byte(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, bytes.NewReader(text))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := l.http.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (l *land) create(path, body string) {
	l.t.Helper()
	if code, answer := l.do(http.MethodPost, path, body); code != http.StatusCreated {
		l.t.Fatalf("POST %s: %d %s", path, code, answer)
	}
}

func (l *land) await(what string, seen func() bool) {
	l.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(soon)
	for !seen() {
		select {
		case <-tick.C:
		case <-limit:
			l.t.Fatalf("not within %s: %s", soon, what)
		}
	}
}

// names are those of all objects at a path.
func (l *land) names(path string) []string {
	l.t.Helper()
	code, answer := l.do(http.MethodGet, path, "")
	var list struct {
		Items []struct{ Metadata metav1.ObjectMeta }
	}
	if err := yaml.Unmarshal(answer, &list); err != nil || code != http.StatusOK {
		l.t.Fatalf("GET %s: %d %s %v", path, code, answer, err)
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Metadata.Name)
	}
	return out
}

// left is everything in both namespaces but what Kubernetes itself and the chart put there.
func (l *land) left() []string {
	l.t.Helper()
	var out []string
	for _, namespace := range []string{agentSpace, tenantSpace} {
		for _, kind := range []string{
			"/api/v1 configmaps", "/api/v1 secrets", "/api/v1 services", "/api/v1 pods", "/apis/apps/v1 deployments", "/apis/apps/v1 replicasets",
			"/apis/networking.k8s.io/v1 networkpolicies", "/apis/agent.waterwheel.dev/v1 flinkjobs",
		} {
			group, plural, _ := strings.Cut(kind, " ")
			for _, name := range l.names(group + "/namespaces/" + namespace + "/" + plural) {
				if name != "kube-root-ca.crt" {
					out = append(out, namespace+" "+plural+" "+name)
				}
			}
		}
	}
	return out
}

// replica is one of the agent's: what it leads is two jobs with a run each.
type replica struct {
	leads   chan struct{} // closed when its runs are there
	stopped atomic.Bool
	done    chan error
	stop    context.CancelFunc
}

func (l *land) replica(name string, jobs ...string) *replica {
	l.t.Helper()
	r := &replica{leads: make(chan struct{}), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(l.t.Context())
	r.stop = cancel
	k := l.cfg.Runtime.Kubernetes
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		l.t.Fatal(err)
	}
	turn := lease.Config{
		API: api, Namespace: k.Namespace, Name: k.Election.Lease, Identity: name,
		Duration: k.Election.Duration, RenewDeadline: k.Election.RenewDeadline, RetryPeriod: k.Election.RetryPeriod,
	}
	go func() {
		r.done <- lease.Run(ctx, turn, func(ctx context.Context) error {
			err := l.lead(ctx, jobs, func() { close(r.leads) })
			r.stopped.Store(true)
			return err
		})
	}()
	l.t.Cleanup(func() {
		cancel()
		if !r.stopped.Load() {
			<-r.done
		}
	})
	return r
}

// lead is an agent that brings up a run of each job, and has the records of one.
func (l *land) lead(ctx context.Context, jobs []string, up func()) error {
	k := l.cfg.Runtime.Kubernetes
	api, err := kube.Connect(k.Kubeconfig)
	if err != nil {
		return err
	}
	kept, err := store.Open(ctx, store.Options{API: api, Namespace: k.Namespace, ConfigMap: k.Records, Decode: decode})
	if err != nil {
		return err
	}
	defer kept.Close()
	identity, err := store.NewSecret(api, k.Namespace, k.Secrets.Identity)
	if err != nil {
		return err
	}
	if _, err := identity.Load("agent.key"); err == nil {
		return errors.New("it was here before")
	}
	if err := identity.Replace("agent.key", []byte("key")); err != nil {
		return err
	}
	tenants, err := k.places(l.cfg.StateStorage.Root, selector())
	if err != nil {
		return err
	}
	rt, err := kube.New(kube.Config{
		API: api, Namespace: k.Namespace, Keys: k.Secrets.Keys, Tenants: tenants,
		TenantOf: func(string) (string, bool) { return "team", true },
	})
	if err != nil {
		return err
	}
	watching := make(chan error, 1)
	go func() { watching <- rt.Run(ctx, func(string) {}) }()
	defer func() { <-watching }()
	for i, name := range jobs {
		launch := launchOf(i, name)
		for {
			err := rt.Ensure(ctx, launch)
			if err == nil {
				err = rt.Collect(ctx, launch.Run.UID, []flink.Run{launch.Run})
			}
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(100 * time.Millisecond): // until its watches are up
			}
		}
	}
	up()
	<-ctx.Done()
	return nil
}

func launchOf(i int, name string) flink.Launch {
	spec := flink.Default(flink.Spec{
		FlinkVersion: "2.3", Jar: flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "M"}, Parallelism: 2,
		JobManager:  flink.Resources{CPU: "0.5", Memory: "1Gi"},
		TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "1", Memory: "1Gi"}, Slots: 2},
	})
	return flink.Launch{Run: flink.Run{UID: fmt.Sprintf("%032x", i+1), Term: 1, Run: 1}, Tenant: "team", Name: name, Spec: spec, Generation: 1, Restart: 0}
}

// fill adds what Flink, the hub and the chart would have put there.
func (l *land) fill(runs ...flink.Run) {
	l.t.Helper()
	for _, run := range runs {
		labels := fmt.Sprintf("{app: %s, type: flink-native-kubernetes}", render.Name(run))
		at := "/api/v1/namespaces/" + tenantSpace + "/configmaps"
		l.create(at, fmt.Sprintf("{metadata: {name: %s, labels: %s}, data: {executionPlan-x: rO0ABXNy}}", render.LeaderConfigMap(run), labels))
		l.create(at, fmt.Sprintf("{metadata: {name: %s, labels: %s}, data: {checkpointID-0000000000000000007: rO0ABXNy}}", render.CheckpointConfigMap(run), labels))
		l.create(flinkJobs, fmt.Sprintf("{apiVersion: agent.waterwheel.dev/v1, kind: FlinkJob, metadata: {name: '%s'}, spec: {uid: '%s'}}", run.UID, run.UID))
	}
	l.create("/api/v1/namespaces/"+agentSpace+"/secrets", "{metadata: {name: waterwheel-agent-join}, stringData: {token: t}}")
}

// listener gets the lines of down, and calls heard for each.
type listener struct {
	bytes.Buffer

	heard func(line string)
}

func (o *listener) Write(b []byte) (int, error) {
	if o.heard != nil {
		o.heard(string(b))
	}
	return o.Buffer.Write(b)
}

func (o *listener) last() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return lines[len(lines)-1]
}

func (l *land) down(o *listener, limit time.Duration) error {
	l.t.Helper()
	e, err := newEnding(l.cfg, o)
	if err != nil {
		l.t.Fatal(err)
	}
	e.limit = limit
	return e.run(l.t.Context())
}

func (l *land) holder() string {
	l.t.Helper()
	code, answer := l.do(http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/"+agentSpace+"/leases/waterwheel-agent", "")
	if code == http.StatusNotFound {
		return "no lease"
	}
	var o struct {
		Spec struct{ HolderIdentity string }
	}
	if err := yaml.Unmarshal(answer, &o); err != nil {
		l.t.Fatal(err)
	}
	return o.Spec.HolderIdentity
}

func TestDownEndsAllRunsAndLeavesNothingOfTheAgent(t *testing.T) {
	t.Parallel() // it waits most of its time
	l := newLand(t)
	var none listener
	if err := EndRuns(t.Context(), l.cfg, &none); err != nil || !strings.Contains(none.String(), "no agent is installed") || none.last() != "down runs=0 objects=0" {
		t.Errorf("an agent that was never there: %v\n%s", err, none.String())
	}
	if h := l.holder(); h != "no lease" {
		t.Errorf("an agent that was never there left a lease of %q", h)
	}

	acts := l.replica("acts", "clicks", "views")
	within(t, "it leads", acts.leads)
	waits := l.replica("waits")
	one, two := launchOf(0, "clicks").Run, launchOf(1, "views").Run
	l.fill(one, two)
	there := 0
	for _, o := range l.left() {
		kind := strings.Fields(o)[1]
		if kind != "pods" && kind != "replicasets" && !strings.HasPrefix(o, tenantSpace+" secrets ") {
			there++
		}
	}
	out := listener{}
	out.heard = func(line string) {
		if strings.HasPrefix(line, "ended") && !acts.stopped.Load() {
			t.Error("a run was ended while the agent could still act")
		}
	}
	if err := l.down(&out, soon); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if err := within(t, "the agent's process ends", acts.done); !errors.Is(err, lease.ErrLost) {
		t.Errorf("err = %v, want ErrLost", err)
	}
	for _, run := range []flink.Run{one, two} {
		if !strings.Contains(out.String(), "ended run "+render.Name(run)+" in namespace team") || !strings.Contains(out.String(), run.JobID()+"/chk-7") {
			t.Errorf("nothing is said of run %s", run.Name())
		}
	}
	if want := fmt.Sprintf("down runs=2 objects=%d", there); out.last() != want {
		t.Errorf("last line: %s, want %s", out.last(), want)
	}
	l.await("the rest is collected", func() bool {
		return !slices.ContainsFunc(l.left(), func(o string) bool { return strings.Contains(o, " secrets ") && strings.HasPrefix(o, tenantSpace) })
	})
	if left := l.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if h := l.holder(); !strings.HasSuffix(h, "(ended this agent)") {
		t.Errorf("the lease is held by %q", h)
	}
	var again listener
	if err := l.down(&again, soon); err != nil || again.last() != "down runs=0 objects=0" || strings.Contains(again.String(), "waiting") {
		t.Errorf("ended twice: %v\n%s", err, again.String())
	}
	select {
	case <-waits.leads:
		t.Error("another replica began to act")
	default:
	}
}

func TestDownThatCannotEndARunNamesItAndForgetsNothing(t *testing.T) {
	t.Parallel() // it waits most of its time
	l := newLand(t)
	acts := l.replica("acts", "clicks", "views")
	within(t, "it leads", acts.leads)
	one, two := launchOf(0, "clicks").Run, launchOf(1, "views").Run
	l.fill(one, two)
	acts.stop()
	if err := within(t, "the agent is scaled to nothing", acts.done); err != nil {
		t.Fatal(err)
	}
	at := "/api/v1/namespaces/" + tenantSpace + "/pods/"
	var stuck string
	l.await("there are pods", func() bool {
		pods := l.names(at)
		i := slices.IndexFunc(pods, func(p string) bool { return strings.HasPrefix(p, render.JobManagerName(two)) })
		if i >= 0 {
			stuck = pods[i]
		}
		return i >= 0
	})
	if code, answer := l.do(http.MethodPatch, at+stuck, "{metadata: {finalizers: [example.com/node-is-gone]}}"); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	var out listener
	err := l.down(&out, time.Minute) // in which the other has to end
	if err == nil || !strings.Contains(err.Error(), render.Name(two)) || !strings.Contains(err.Error(), "pod "+stuck) || strings.Contains(err.Error(), render.Name(one)) {
		t.Fatalf("err = %v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "down runs") || !strings.Contains(out.String(), "ended run "+render.Name(one)) {
		t.Errorf("it says:\n%s", out.String())
	}
	left := l.left()
	for _, want := range []string{
		"ww flinkjobs " + one.UID, "ww flinkjobs " + two.UID, "ww configmaps waterwheel-agent-records",
		"ww secrets waterwheel-agent-identity", "ww secrets waterwheel-agent-keys", "ww secrets waterwheel-agent-join",
		"team configmaps " + render.CheckpointConfigMap(one), "team configmaps " + render.CheckpointConfigMap(two), "team configmaps " + render.Name(two),
	} {
		if !slices.Contains(left, want) {
			t.Errorf("forgotten: %s", want)
		}
	}
	if h := l.holder(); h == "" || strings.HasSuffix(h, "(ended this agent)") {
		t.Errorf("the lease is held by %q", h)
	}
	if code, answer := l.do(http.MethodPatch, at+stuck, "{metadata: {finalizers: null}}"); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	var again listener
	if err := l.down(&again, soon); err != nil || !strings.HasPrefix(again.last(), "down runs=1 ") {
		t.Errorf("tried again: %v\n%s", err, again.String())
	}
	l.await("nothing is left", func() bool { return len(l.left()) == 0 })
}

func within[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatalf("not within %s: %s", soon, what)
	}
	panic("unreachable")
}
