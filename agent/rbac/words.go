package rbac

import (
	"fmt"
	"strings"
)

// Installation is where an agent stands and works.
type Installation struct {
	Namespace string
	Tenants   []TenantPlace
}

// TenantPlace is a tenant and its namespace.
type TenantPlace struct {
	Name, Namespace string
}

// Example is an installation with speaking names, for whoever asks before there is one.
func Example() Installation {
	return Installation{Namespace: "NAMESPACE", Tenants: []TenantPlace{{Name: "TENANT", Namespace: "TENANT-NAMESPACE"}}}
}

// Words say what an installation may do: one line for each grant, with its reason.
func Words(at Installation) string {
	var places []string
	for _, t := range at.Tenants {
		places = append(places, fmt.Sprintf("%s (tenant %s)", t.Namespace, t.Name))
	}
	tenants := strings.Join(places, ", ")
	if tenants == "" {
		tenants = "none yet"
	}
	var b strings.Builder
	section := func(title string, grants []Grant) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, g := range grants {
			fmt.Fprintf(&b, "  %s\n", g)
		}
		b.WriteString("\n")
	}
	section(fmt.Sprintf("The agent (%s) in its own namespace, %s, may", Agent, at.Namespace), Of(Agent, Own))
	section("The agent in the namespaces of tenants, "+tenants+", may", Of(Agent, Tenant))
	section(fmt.Sprintf("JobManagers (%s) there may", JobManager), Of(JobManager, Tenant))
	section(fmt.Sprintf("TaskManagers (%s) there may", TaskManager), Of(TaskManager, Tenant))
	b.WriteString(`Nothing else: no ClusterRole, no other namespace, no node, no volume, no exec, no log, no pod of its own making. Every
account of a cluster may besides ask the API server what it serves and what itself may do.

To know: whoever may create Deployments in a namespace can run any image there that its admission lets in, and mount any
Secret of that namespace into it. Give each tenant a namespace that holds nothing but what its jobs need.
`)

	return b.String()
}

// String is the grant in one line.
func (g Grant) String() string {
	what := g.Resource
	if g.Group != "" {
		what += "." + g.Group
		if kind, sub, ok := strings.Cut(g.Resource, "/"); ok {
			what = kind + "." + g.Group + "/" + sub
		}
	}
	if len(g.Names) > 0 {
		what += " " + strings.Join(g.Names, ", ")
	}

	return fmt.Sprintf("%s: %s  (%s)", what, strings.Join(g.Verbs, ", "), g.Why)
}
