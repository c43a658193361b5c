package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"

	"github.com/waterwheel-io/waterwheel/flink"
)

// View is the rows as they were at one revision. It never changes, costs nothing to keep for a moment, and may be used
// from any goroutine. Its values share memory with the store: read them, never change them.
type View struct{ reads }

// reads are the read methods, over a snapshot (View) or over a write that is under way (Txn).
type reads struct {
	txn   func() *memdb.Txn
	head  Revision
	epoch Epoch
}

// viewOf makes the View of a handle that nobody writes to any more.
func viewOf(db *memdb.MemDB, head Revision, epoch Epoch) View {
	return View{reads{txn: func() *memdb.Txn { return db.Txn(false) }, head: head, epoch: epoch}}
}

// Head is the newest revision in the view.
func (r reads) Head() Revision { return r.head }

// Epoch is the epoch in which the view was made.
func (r reads) Epoch() Epoch { return r.epoch }

// Admins by name: those who were given an SVID over the network.
func (r reads) Admins() []Admin { return all[Admin](r.txn(), tableAdmins) }

// Tenants by name.
func (r reads) Tenants() []Tenant { return all[Tenant](r.txn(), tableTenants) }

// Tenant by name.
func (r reads) Tenant(name string) (Tenant, bool) { return get[Tenant](r.txn(), tableTenants, name) }

// Clusters by name, removed ones too.
func (r reads) Clusters() []Cluster {
	out := all[Cluster](r.txn(), tableClusters)
	slices.SortFunc(out, func(a, b Cluster) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.UID, b.UID))
	})
	return out
}

// Cluster by uid, removed ones too.
func (r reads) Cluster(uid string) (Cluster, bool) { return get[Cluster](r.txn(), tableClusters, uid) }

// ClusterByName finds the cluster that has the name now; a removed one has given it up.
func (r reads) ClusterByName(name string) (Cluster, bool) {
	uid, ok := get[string](r.txn(), tableIndex, key(byClusterName, name))
	if !ok {
		return Cluster{}, false
	}
	return r.Cluster(uid)
}

// Token by the hex SHA-256 of the token.
func (r reads) Token(hash string) (Token, bool) { return get[Token](r.txn(), tableTokens, hash) }

// TokensOf lists a cluster's tokens.
func (r reads) TokensOf(clusterUID string) []Token {
	txn := r.txn()
	var out []Token
	for _, hash := range all[string](txn, tableIndex, byCluster, clusterUID) {
		if t, ok := get[Token](txn, tableTokens, hash); ok {
			out = append(out, t)
		}
	}
	return out
}

// Job by uid.
func (r reads) Job(uid string) (Job, bool) { return get[Job](r.txn(), tableJobs, uid) }

// JobByName finds the job that has the name now, also while it is being deleted.
func (r reads) JobByName(tenant, name string) (Job, bool) {
	uid, ok := get[string](r.txn(), tableIndex, key(byJobName, tenant, name))
	if !ok {
		return Job{}, false
	}
	return r.Job(uid)
}

// Jobs lists a tenant's jobs by name, those after afterName, at most limit of them (0: all).
func (r reads) Jobs(tenant, afterName string, limit int) []Job {
	txn := r.txn()
	first := key(byJobName, tenant, afterName)
	it := must(txn.LowerBound(tableIndex, "id", first))
	var out []Job
	for e, ok := it.Next().(*entry); ok; e, ok = it.Next().(*entry) {
		if !strings.HasPrefix(e.key, key(byJobName, tenant, "")) || limit > 0 && len(out) == limit {
			break
		}
		if j, ok := get[Job](txn, tableJobs, e.value.(string)); ok && e.key != first {
			out = append(out, j)
		}
	}
	return out
}

// JobsOf lists the uids of the jobs that are assigned to a cluster.
func (r reads) JobsOf(clusterUID string) []string {
	return all[string](r.txn(), tableIndex, byHolder, clusterUID)
}

// Assignment of a job.
func (r reads) Assignment(jobUID string) (flink.Assignment, bool) {
	return get[flink.Assignment](r.txn(), tableAssignments, jobUID)
}

// Order is what a cluster is told about a job, a tombstone too.
func (r reads) Order(clusterUID, uid string) (FeedRow, bool) {
	row, ok := get[*FeedRow](r.txn(), tableOrders, key(clusterUID, uid))
	if !ok {
		return FeedRow{}, false
	}
	return *row, true
}
