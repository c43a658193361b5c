package rbac

import (
	"fmt"
	"strings"
)

// Role is a Role of Kubernetes as JSON has it.
type Role struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Rules      []Rule   `json:"rules"`
}

// Metadata names a Role.
type Metadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// Rule is one rule of a Role.
type Rule struct {
	APIGroups     []string `json:"apiGroups"`
	Resources     []string `json:"resources"`
	ResourceNames []string `json:"resourceNames,omitempty"`
	Verbs         []string `json:"verbs"`
}

// Rule is the grant in Kubernetes' form.
func (g Grant) Rule() Rule {
	return Rule{APIGroups: []string{g.Group}, Resources: []string{g.Resource}, ResourceNames: g.Names, Verbs: g.Verbs}
}

// Rules are the rules of a holder in a place.
func Rules(h Holder, p Place) []Rule {
	var out []Rule
	for _, g := range Of(h, p) {
		out = append(out, g.Rule())
	}

	return out
}

// Roles are all Roles of an installation: the agent's own, and three for each tenant.
func Roles(at Installation) []Role {
	role := func(h Holder, p Place, namespace string) Role {
		return Role{
			APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role",
			Metadata: Metadata{Name: string(h), Namespace: namespace}, Rules: Rules(h, p),
		}
	}
	out := []Role{role(Agent, Own, at.Namespace)}
	for _, t := range at.Tenants {
		for _, h := range []Holder{Agent, JobManager, TaskManager} {
			out = append(out, role(h, Tenant, t.Namespace))
		}
	}

	return out
}

// RulesYAML are the rules of a holder in a place as the chart includes them: YAML, each rule below its reason.
func RulesYAML(h Holder, p Place) string {
	var b strings.Builder
	for _, g := range Of(h, p) {
		fmt.Fprintf(&b, "# %s\n", g.Why)
		writeRule(&b, g.Rule(), "")
	}

	return b.String()
}

// RolesYAML are Roles as a stream of YAML documents that kubectl takes.
func RolesYAML(roles []Role) string {
	var b strings.Builder
	for _, r := range roles {
		fmt.Fprintf(&b, "---\napiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s}\nrules:\n",
			r.APIVersion, r.Kind, r.Metadata.Name, r.Metadata.Namespace)
		for _, rule := range r.Rules {
			writeRule(&b, rule, "  ")
		}
	}

	return b.String()
}

func writeRule(b *strings.Builder, r Rule, indent string) {
	fmt.Fprintf(b, "%s- apiGroups: [%q]\n", indent, r.APIGroups[0])
	fmt.Fprintf(b, "%s  resources: [%s]\n", indent, strings.Join(r.Resources, ", "))
	if len(r.ResourceNames) > 0 {
		fmt.Fprintf(b, "%s  resourceNames: [%s]\n", indent, strings.Join(r.ResourceNames, ", "))
	}
	fmt.Fprintf(b, "%s  verbs: [%s]\n", indent, strings.Join(r.Verbs, ", "))
}

// Right is one verb on one kind of object, or on one object by name.
type Right struct{ Verb, Group, Resource, Name string }

// Rights are the grants of a holder in a place one by one, as the API server is asked about them.
func Rights(h Holder, p Place) []Right {
	var out []Right
	for _, g := range Of(h, p) {
		names := g.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			for _, verb := range g.Verbs {
				out = append(out, Right{verb, g.Group, g.Resource, name})
			}
		}
	}

	return out
}
