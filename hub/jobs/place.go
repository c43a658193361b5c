package jobs

import (
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
)

// placeFaults says what stands against the place that a job names: its tenant and its cluster. have is the job as the
// hub has it, zero for a new one.
func placeFaults(t *store.Txn, want flink.Job, have store.Job) (faults []flink.Fault) {
	add := func(field, value, remedy string) {
		faults = append(faults, flink.Fault{Field: field, Value: value, Remedy: remedy})
	}
	if _, ok := t.Tenant(want.Tenant); !ok && want.Tenant != "" {
		var names []string
		for _, tenant := range t.Tenants() {
			names = append(names, tenant.Name)
		}
		add("metadata.tenant", want.Tenant, "no such tenant"+meant(want.Tenant, names))
	}
	name := want.Spec.Cluster
	switch {
	case name == "":
		return faults // Validate says that it is required
	case have.UID != "" && have.Spec.Cluster != name:
		add("spec.cluster", name, fmt.Sprintf("a job cannot be moved yet: keep %q, or delete the job and create it again", have.Spec.Cluster))
		return faults
	}
	cluster, ok := t.ClusterByName(name)
	if have.UID != "" {
		// The cluster that holds it, not one that took the name of it since.
		a, _ := t.Assignment(have.UID)
		cluster, ok = t.Cluster(a.ClusterUID)
	}
	switch {
	case !ok:
		add("spec.cluster", name, clusterRemedy(t, name))
	case cluster.State == store.ClusterRemoved:
		add("spec.cluster", name, "the cluster was removed: delete the job and create it again on another")
	case cluster.Banned:
		add("spec.cluster", name, "the cluster is banned: use another")
	}
	return faults
}

func clusterRemedy(t *store.Txn, name string) string {
	var names []string
	for _, c := range t.Clusters() {
		switch {
		case c.State != store.ClusterRemoved:
			names = append(names, c.Name)
		case c.Name == name:
			return "the cluster was removed: invite it again, or use another"
		}
	}
	if len(names) == 0 {
		return "no such cluster, and none was invited yet: invite one first"
	}
	return "no such cluster" + meant(name, names)
}

func meant(word string, candidates []string) string {
	if near := flink.Near(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
