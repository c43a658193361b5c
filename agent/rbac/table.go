package rbac

// Holder is who has a grant: a ServiceAccount, and the Roles of the same name that give it its grants.
type Holder string

// The accounts that the chart makes.
const (
	Agent       Holder = "waterwheel-agent"       // in the agent's namespace
	JobManager  Holder = "waterwheel-jobmanager"  // in each tenant's namespace
	TaskManager Holder = "waterwheel-taskmanager" // in each tenant's namespace
)

// Place is where a grant holds.
type Place string

// The places.
const (
	Own    Place = "own"    // the agent's namespace
	Tenant Place = "tenant" // each namespace that a tenant was given
)

// The agent's own objects, which are all that it may touch of their kinds in its namespace.
const (
	IdentitySecret = "waterwheel-agent-identity"
	KeysSecret     = "waterwheel-agent-keys"
	JoinSecret     = "waterwheel-agent-join"
	RecordsMap     = "waterwheel-agent-records"
	ElectionLease  = "waterwheel-agent"
)

// Grant lets a holder do something with one kind of object in a place.
type Grant struct {
	Holder   Holder
	Place    Place
	Group    string // of the API; "" is the core
	Resource string
	Names    []string // of objects; none: all of the kind
	Verbs    []string
	Why      string
}

// Grants is the whole table, in the order in which people read it.
func Grants() []Grant {
	all := []string{"get", "list", "watch", "create", "patch", "delete"}
	own := func(group, resource string, names, verbs []string, why string) Grant {
		return Grant{Agent, Own, group, resource, names, verbs, why}
	}
	tenant := func(group, resource string, names, verbs []string, why string) Grant {
		return Grant{Agent, Tenant, group, resource, names, verbs, why}
	}

	return []Grant{
		own("", "secrets", []string{IdentitySecret, KeysSecret}, []string{"get", "update", "patch", "delete"},
			"its own certificate and key, renewed at half life, and the key from which those of each run are derived"),
		own("", "secrets", []string{JoinSecret}, []string{"get", "delete"},
			"the join token that the chart put there; it is deleted once it is used"),
		own("", "secrets", nil, []string{"create"},
			"makes the first two of these; Kubernetes cannot bind create to a name, and what it makes under another name it could never read"),
		own("", "configmaps", []string{RecordsMap}, []string{"get", "update", "patch", "delete"},
			"its place in the hub's stream, so that a new agent goes on where the last one was"),
		own("", "configmaps", nil, []string{"create"},
			"makes that one; Kubernetes cannot bind create to a name"),
		own("coordination.k8s.io", "leases", []string{ElectionLease}, []string{"get", "update", "patch"},
			"of its replicas one acts: the holder of this lease"),
		own("coordination.k8s.io", "leases", nil, []string{"create"},
			"makes it again if it was deleted; Kubernetes cannot bind create to a name"),
		own("agent.waterwheel.dev", "flinkjobs", nil, []string{"get", "list", "watch", "create", "update", "patch", "delete"},
			"its record of the hub's orders, one object each: all to see with kubectl, and to put on hold"),
		own("agent.waterwheel.dev", "flinkjobs/status", nil, []string{"get", "update", "patch"},
			"what it says of each job"),

		tenant("apps", "deployments", nil, all, "JobManager and TaskManagers of each run; it can create no pod by itself"),
		tenant("", "services", nil, all, "REST of each run, and <job>-rest of the current one"),
		tenant("", "configmaps", nil, all,
			"Flink's configuration of each run; and Flink's high availability data, to read the newest checkpoint's path and to remove what a gone run left"),
		tenant("networking.k8s.io", "networkpolicies", nil, all,
			"REST of a run from the agent alone, its inner ports from its own pods alone"),
		tenant("", "secrets", nil, []string{"create"},
			"keys of each run's REST; it cannot read, list, change or delete any Secret here"),
		tenant("", "pods", nil, []string{"get", "list", "watch"}, "why a process does not start, restarts, or was killed"),
		tenant("", "events", nil, []string{"list"}, "the same, where Kubernetes says it in an event only: scheduling, quota, mounts"),
		tenant("", "resourcequotas", nil, []string{"get", "list", "watch"}, "whether there is room for a next run beside the current one"),
		tenant("", "serviceaccounts", []string{string(JobManager), string(TaskManager)}, []string{"get"},
			"says so when an account that its pods need is missing"),

		{
			JobManager, Tenant, "", "configmaps", nil,
			[]string{"get", "list", "watch", "create", "update", "patch", "delete"},
			"Flink's high availability: leader, job graph, newest checkpoint. Without patch every restart hangs",
		},
		{TaskManager, Tenant, "", "configmaps", nil, []string{"list", "watch"}, "finds the leading JobManager"},
	}
}

// Of are the grants of a holder in a place, in the table's order.
func Of(h Holder, p Place) []Grant {
	var out []Grant
	for _, g := range Grants() {
		if g.Holder == h && g.Place == p {
			out = append(out, g)
		}
	}

	return out
}
