package agent

import (
	"slices"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/doctor"
	"github.com/waterwheel-io/waterwheel/agent/kube/checks"
	"github.com/waterwheel-io/waterwheel/agent/rbac"
)

func TestTheDoctorLooksAtEveryGrantOfTheTable(t *testing.T) {
	want := 0
	for _, g := range rbac.Of(rbac.Agent, rbac.Own) {
		want += len(g.Verbs) * max(1, len(g.Names))
	}
	got := rights(rbac.Of(rbac.Agent, rbac.Own))
	named := doctor.Right{Verb: "get", Resource: "secrets", Name: rbac.IdentitySecret}
	if len(got) != want || !slices.Contains(got, named) {
		t.Errorf("%d rights, want %d with %s among them: %v", len(got), want, named, got)
	}
}

func TestTheDoctorLooksWhereRunsWillGo(t *testing.T) {
	cfg := Config{StateStorage: StorageConfig{Root: "s3://all/x"}, Runtime: RuntimeConfig{Kind: kindKubernetes, Kubernetes: KubernetesConfig{
		Namespace: "agent", ServiceAccounts: AccountNames{JobManager: "own-jm"}, Images: map[string]string{"2.3": "f"},
		Tenants: []TenantConfig{
			{Name: "a", Namespace: "team-a", Settings: map[string]string{"s3.endpoint": "http://minio:9000"}},
			{Name: "b", Namespace: "team-b", StateStorage: StorageConfig{Root: "gs://b/x"}},
		},
	}}}
	k := examined(cfg, new(checks.Server))
	if want := []string{"own-jm", "waterwheel-taskmanager"}; !slices.Equal(k.Accounts, want) {
		t.Errorf("accounts %v, want %v", k.Accounts, want)
	}
	var places []string
	for _, p := range k.Tenants {
		places = append(places, p.Namespace+" "+p.StateRoot+" "+p.Endpoint)
	}
	if want := []string{"team-a s3://all/x http://minio:9000", "team-b gs://b/x "}; !slices.Equal(places, want) {
		t.Errorf("tenants %q, want %q", places, want)
	}
}
