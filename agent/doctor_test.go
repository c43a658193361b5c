package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestTheDoctorOfAnAgentThatHasNotJoinedSaysWhatIsMissing(t *testing.T) {
	says := ""
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"membership": %q, "hub": {"address": "hub:7443"}}`, says)
	}))
	defer running.Close()
	dir := t.TempDir()
	cfg := Config{
		Dir: filepath.Join(dir, "agent"), Listen: running.Listener.Addr().String(),
		Hub: HubConfig{Address: "hub:7443", TokenFile: filepath.Join(dir, "token")},
	}
	want := func(level doctor.Level, text string) {
		t.Helper()
		found := doctor.Run(t.Context(), []doctor.Check{identityCheck(cfg)})
		if len(found) != 1 || found[0].Level != level || !strings.Contains(found[0].Finding, text) || !strings.Contains(found[0].Remedy, cfg.Hub.TokenFile) {
			t.Errorf("%+v, want %s with %q, and a remedy that names the token's file", found, level, text)
		}
	}
	want(doctor.Fail, "there is no join token")
	if err := os.WriteFile(cfg.Hub.TokenFile, []byte("wwj1.t"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(doctor.Warn, "not joined; there is a join token")
	says = "join token refused: it was used"
	want(doctor.Fail, "the agent says: join token refused")
	cfg.Hub.Address = "another:7443" // not of the agent that answers
	want(doctor.Warn, "not joined; there is a join token")
	if _, err := os.Stat(cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("it made the agent's directory: %v", err)
	}
}
