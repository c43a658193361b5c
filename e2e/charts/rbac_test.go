package charts_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	sigyaml "sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/rbac"
)

// The chart grants the table and nothing else.
func theChartGrantsTheTable(t *testing.T, r rendered) {
	t.Helper()
	for values, tenants := range map[string][]rbac.TenantPlace{
		"minimal": {{Name: "default", Namespace: "waterwheel-default"}},
		"full":    {{Name: "default", Namespace: "streams"}, {Name: "shop", Namespace: "shop"}},
		"bare":    nil,
	} {
		objects := r[chart{"agent", values}]
		want := map[string][]rbacv1.PolicyRule{}
		for _, role := range rbac.Roles(rbac.Installation{Namespace: agentSpace, Tenants: tenants}) {
			for _, rule := range role.Rules {
				key := role.Metadata.Namespace + "/" + role.Metadata.Name
				want[key] = append(want[key], rbacv1.PolicyRule{
					APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames, Verbs: rule.Verbs,
				})
			}
		}
		got := map[string][]rbacv1.PolicyRule{}
		for _, role := range of[*rbacv1.Role](objects) {
			got[role.Namespace+"/"+role.Name] = role.Rules
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-table +chart):\n%s", values, diff)
		}
	}
}

// A Role is bound to the account of its name, and to no other.
func bindings(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		objects := r[c]
		bindings := of[*rbacv1.RoleBinding](objects)
		if roles := len(of[*rbacv1.Role](objects)); len(bindings) != roles {
			t.Errorf("%s: %d Roles, %d bindings", c, roles, len(bindings))
		}
		for _, b := range bindings {
			account := b.Namespace
			if b.Name == string(rbac.Agent) {
				account = agentSpace
			}
			want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: b.Name, Namespace: account}}
			if b.RoleRef.Kind != "Role" || b.RoleRef.Name != b.Name || !cmp.Equal(b.Subjects, want) {
				t.Errorf("%s: %s binds %v to %v", c, b.Name, b.RoleRef, b.Subjects)
			}
		}
		for _, a := range of[*corev1.ServiceAccount](objects) {
			if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
				t.Errorf("%s: account %s/%s hands out its token unasked", c, a.Namespace, a.Name)
			}
		}
	}
}

func theHubHasNoRights(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		if c.name == "hub" && len(of[*rbacv1.Role](r[c])) > 0 {
			t.Errorf("%s has a Role", c)
		}
	}
}

// What `-o yaml` prints is what kubectl takes.
func TestRolesAsYAMLAreTheRoles(t *testing.T) {
	at := rbac.Installation{Namespace: "a", Tenants: []rbac.TenantPlace{{Name: "t", Namespace: "b"}}}
	roles := rbac.Roles(at)
	if len(roles) != 4 {
		t.Fatalf("%d roles, want 4", len(roles))
	}
	for _, want := range roles {
		var got rbac.Role
		if err := sigyaml.UnmarshalStrict([]byte(rbac.RolesYAML([]rbac.Role{want})), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	names := []string{}
	for _, r := range roles {
		names = append(names, r.Metadata.Namespace+"/"+r.Metadata.Name)
	}
	if want := []string{"a/waterwheel-agent", "b/waterwheel-agent", "b/waterwheel-jobmanager", "b/waterwheel-taskmanager"}; !slices.Equal(names, want) {
		t.Errorf("roles are %v", names)
	}
}
