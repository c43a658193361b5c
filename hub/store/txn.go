package store

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/waterwheel-io/waterwheel/flink"
)

// MaxFrameBytes bounds the orders that one write may hold for one cluster, so that they always fit one frame.
const MaxFrameBytes = 448 << 10

// maxMemdbRows ends a memdb transaction: its cost grows faster than its rows.
const maxMemdbRows = 500

// Txn is one write under way. It reads what it and the writes before it wrote. It lives while fn runs and belongs to
// fn's goroutine. A Txn that put nothing takes no revision and leaves no audit record.
type Txn struct {
	reads
	db       *memdb.MemDB // nobody else sees it before the commit
	open     *memdb.Txn
	puts     int
	revision Revision
	now      time.Time
	mac      func(FeedRow) []byte

	rows    []Row
	feed    []feedChange
	touched []string // clusters whose own row changed
	gone    []string // jobs deleted
	size    map[string]int
	detail  string // for the audit record
	err     error
}

// feedChange replaces the place of one order in its cluster's feed; row nil takes it out.
type feedChange struct {
	cluster, uid string
	row          *FeedRow
}

func newTxn(db *memdb.MemDB, head Revision, epoch Epoch, now time.Time, mac func(FeedRow) []byte) *Txn {
	t := &Txn{db: db, open: db.Txn(true), revision: head + 1, now: now, mac: mac, size: map[string]int{}}
	t.reads = reads{txn: func() *memdb.Txn { return t.open }, head: head, epoch: epoch}
	return t
}

// Now is the time of this write.
func (t *Txn) Now() time.Time { return t.now }

// Revision is the revision that this write gets, if it puts anything.
func (t *Txn) Revision() Revision { return t.revision }

// Note says in the audit record what this write came to, for a Detail that is not known before.
func (t *Txn) Note(detail string) { t.detail = detail }

// PutAdmin adds or replaces an admin.
func (t *Txn) PutAdmin(v Admin) { t.put(tableAdmins, v.Name, v, v, nil) }

// PutTenant adds or replaces a tenant.
func (t *Txn) PutTenant(v Tenant) { t.put(tableTenants, v.Name, v, v, nil) }

// PutCluster adds or replaces a cluster. Subscribers of the cluster are woken: it may have been banned.
func (t *Txn) PutCluster(v Cluster) {
	t.put(tableClusters, v.UID, v, v, nil)
	t.touched = append(t.touched, v.UID)
}

// PutToken adds or replaces a join token.
func (t *Txn) PutToken(v Token) { t.put(tableTokens, v.Hash, v, v, nil) }

// DeleteToken drops a join token; an unknown one is no change.
func (t *Txn) DeleteToken(hash string) { t.delete(tableTokens, hash) }

// PutJob adds or replaces a job and sets its Revision. The spec of each generation goes to the job's history.
func (t *Txn) PutJob(v Job) {
	v.Revision = t.revision
	v.Spec, v.Labels = v.Spec.Clone(), maps.Clone(v.Labels)
	t.put(tableJobs, v.UID, v, v, nil)
}

// DeleteJob drops a job, what was observed of it and its history. Its assignment and orders are rows of their own.
func (t *Txn) DeleteJob(uid string) {
	t.delete(tableJobs, uid)
	t.gone = append(t.gone, uid)
}

// PutAssignment says which cluster holds a job.
func (t *Txn) PutAssignment(v flink.Assignment) { t.put(tableAssignments, v.JobUID, v, v, nil) }

// DeleteAssignment drops a job's assignment; an unknown one is no change.
func (t *Txn) DeleteAssignment(jobUID string) { t.delete(tableAssignments, jobUID) }

// PutOrder writes what a cluster is told about a job. Version, Hash and MAC are filled in here.
func (t *Txn) PutOrder(v FeedRow) {
	v.Version = Version{EpochNumber: t.epoch.Number, Revision: t.revision}
	v.Body = slices.Clone(v.Body)
	sum := sha256.Sum256(v.Body)
	v.Hash = sum[:]
	v.MAC = nil
	if t.mac != nil {
		v.MAC = t.mac(v)
	}
	if t.size[v.ClusterUID] += len(v.Body); t.size[v.ClusterUID] > MaxFrameBytes {
		t.fail(fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxFrameBytes))
		return
	}
	t.put(tableOrders, key(v.ClusterUID, v.UID), &v, v, v.Body)
	t.feed = append(t.feed, feedChange{v.ClusterUID, v.UID, &v})
}

// DropOrder takes an order out of a cluster's feed once the agent reported the job gone, or when no agent can ever have
// it. Its uid and version stay on disk for 180 days, so that a copy that turns up again can be told from an unknown one.
func (t *Txn) DropOrder(clusterUID, uid string) {
	row, ok := t.Order(clusterUID, uid)
	if !ok {
		return
	}
	t.delete(tableOrders, key(clusterUID, uid))
	t.write(Row{Table: tableStubs, Key: key(clusterUID, uid)}, stub{Version: row.Version, At: t.now})
	t.feed = append(t.feed, feedChange{clusterUID, uid, nil})
}

// stub is what is left of a dropped order.
type stub struct {
	Version Version
	At      time.Time
}

// fail makes the write fail once fn returns; the first reason stands.
func (t *Txn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *Txn) put(table, key string, value, header any, body []byte) {
	t.write(Row{Table: table, Key: key, Body: body}, header)
	unindex(t.open, table, key)
	insert(t.open, table, key, value)
	index(t.open, value)
	t.cut()
}

func (t *Txn) delete(table, key string) {
	if must(t.open.First(table, "id", key)) == nil {
		return
	}
	t.rows = append(t.rows, Row{Table: table, Key: key, Deleted: true})
	unindex(t.open, table, key)
	remove(t.open, table, key)
	t.cut()
}

func (t *Txn) write(r Row, header any) {
	b, err := json.Marshal(header)
	if err != nil {
		t.fail(fmt.Errorf("encode %s: %w", r.Table, err))
	}
	r.Header = b
	t.rows = append(t.rows, r)
}

func (t *Txn) cut() {
	if t.puts++; t.puts%maxMemdbRows == 0 {
		t.open.Commit()
		t.open = t.db.Txn(true)
	}
}

// index makes the second ways to a row; unindex takes those of the row that stands there now away.
func index(txn *memdb.Txn, value any) {
	if k, v, ok := indexEntry(value); ok {
		insert(txn, tableIndex, k, v)
	}
}

func unindex(txn *memdb.Txn, table, key string) {
	e, ok := must(txn.First(table, "id", key)).(*entry)
	if !ok {
		return
	}
	if k, v, ok := indexEntry(e.value); ok {
		// A name may have gone to another row since.
		if now, ok := get[string](txn, tableIndex, k); ok && now == v {
			remove(txn, tableIndex, k)
		}
	}
}

func indexEntry(value any) (k, v string, ok bool) {
	switch r := value.(type) {
	case Cluster:
		return key(byClusterName, r.Name), r.UID, r.State != ClusterRemoved
	case Job:
		return key(byJobName, r.Tenant, r.Name), r.UID, true
	case flink.Assignment:
		return key(byHolder, r.ClusterUID, r.JobUID), r.JobUID, true
	case Token:
		return key(byCluster, r.ClusterUID, r.Hash), r.Hash, true
	}
	return "", "", false
}
