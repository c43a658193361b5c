package rbac_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/agent/rbac"
)

var update = flag.Bool("update", false, "write the golden files and the chart's rules anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; if that is meant, go test ./agent/rbac -update (-file +table):\n%s", name, diff)
	}
}

func installation() rbac.Installation {
	return rbac.Installation{Namespace: "waterwheel", Tenants: []rbac.TenantPlace{
		{Name: "default", Namespace: "waterwheel-default"}, {Name: "shop", Namespace: "shop-streams"},
	}}
}

func TestTheWordsAreReviewed(t *testing.T) {
	golden(t, "testdata/words.golden", rbac.Words(installation()))
	golden(t, "testdata/roles.golden.yaml", rbac.RolesYAML(rbac.Roles(installation())))
}

func TestTheChartsRulesAreTheTable(t *testing.T) {
	for name, rules := range map[string]string{
		"agent-own":    rbac.RulesYAML(rbac.Agent, rbac.Own),
		"agent-tenant": rbac.RulesYAML(rbac.Agent, rbac.Tenant),
		"jobmanager":   rbac.RulesYAML(rbac.JobManager, rbac.Tenant),
		"taskmanager":  rbac.RulesYAML(rbac.TaskManager, rbac.Tenant),
	} {
		text := "# Written from the table in agent/rbac by `go test ./agent/rbac -update`; do not edit.\n" + rules
		golden(t, filepath.Join("../../charts/waterwheel-agent/files/rules", name+".yaml"), text)
	}
}

func TestNoGrantIsWide(t *testing.T) {
	for _, g := range rbac.Grants() {
		if g.Why == "" {
			t.Errorf("%s has no reason", g)
		}
		for _, word := range append(slices.Concat(g.Verbs, g.Names), g.Group, g.Resource) {
			if strings.Contains(word, "*") {
				t.Errorf("%s has a wildcard", g)
			}
		}
		for _, never := range []string{"deletecollection", "impersonate", "bind", "escalate", "approve"} {
			if slices.Contains(g.Verbs, never) {
				t.Errorf("%s may %s", g, never)
			}
		}
		for _, never := range []string{"pods/exec", "pods/log", "pods/attach", "pods/portforward", "roles", "rolebindings", "namespaces", "nodes"} {
			if g.Resource == never {
				t.Errorf("%s touches %s", g, never)
			}
		}
	}
}

func TestSecretsAreReadByNameAlone(t *testing.T) {
	seen := 0
	for _, g := range rbac.Grants() {
		if g.Resource != "secrets" {
			continue
		}
		seen++
		if len(g.Names) == 0 && !slices.Equal(g.Verbs, []string{"create"}) {
			t.Errorf("%s: without names it may create and nothing else", g)
		}
		if g.Place == rbac.Tenant && len(g.Names) > 0 {
			t.Errorf("%s: in tenants' namespaces no Secret is read", g)
		}
	}
	if seen != 4 {
		t.Errorf("%d grants on secrets, want 4", seen)
	}
}

func TestPodsAreOnlyLookedAt(t *testing.T) {
	for _, g := range rbac.Grants() {
		if g.Resource == "pods" && !slices.Equal(g.Verbs, []string{"get", "list", "watch"}) {
			t.Errorf("%s", g)
		}
	}
}

func TestRightsAreTheGrantsOneByOne(t *testing.T) {
	want := 0
	for _, g := range rbac.Of(rbac.Agent, rbac.Own) {
		want += len(g.Verbs) * max(1, len(g.Names))
	}
	got := rbac.Rights(rbac.Agent, rbac.Own)
	if len(got) != want {
		t.Errorf("%d rights, want %d", len(got), want)
	}
	for _, r := range []rbac.Right{
		{"get", "", "secrets", rbac.KeysSecret}, {"create", "", "secrets", ""}, {"patch", "agent.waterwheel.dev", "flinkjobs/status", ""},
	} {
		if !slices.Contains(got, r) {
			t.Errorf("%v is missing", r)
		}
	}
	if slices.Contains(got, rbac.Right{"get", "", "secrets", ""}) {
		t.Error("all Secrets may be read")
	}
}
