package store

import (
	"errors"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// The tables. Those of memory are in memdb and in rows.db; those of disk only in rows.db.
const (
	tableTenants     = "tenants"
	tableAdmins      = "admins"
	tableClusters    = "clusters"
	tableTokens      = "tokens"
	tableJobs        = "jobs"
	tableAssignments = "assignments"
	tableOrders      = "orders"

	tableStubs = "stubs" // disk only
	tableAudit = "audit" // disk only

	// tableIndex holds every second way to find a row. It is a table of its own, so that a change of a large row
	// touches one tree and only a new name touches two; it is made from the rows, never stored.
	tableIndex = "index"
)

var memoryTables = []string{tableTenants, tableAdmins, tableClusters, tableTokens, tableJobs, tableAssignments, tableOrders}

// Kinds of index entries, the first part of their keys.
const (
	byJobName     = "job"     // tenant, name → job uid
	byClusterName = "cluster" // name → cluster uid, not of removed ones
	byHolder      = "held"    // cluster uid, job uid → job uid
	byCluster     = "token"   // cluster uid, token hash → token hash
)

const sep = "\x00"

// key joins the parts of a key. No part may hold a zero byte.
func key(parts ...string) string { return strings.Join(parts, sep) }

// entry is one object in memdb; immutable once inserted.
type entry struct {
	key   string
	value any
}

// keyIndexer is the one index of every table: the key, ended by a zero so that no key is a prefix of another.
type keyIndexer struct{}

func (keyIndexer) FromObject(obj any) (bool, []byte, error) {
	e, ok := obj.(*entry)
	if !ok {
		return false, nil, errors.New("not an entry")
	}
	return true, []byte(e.key + sep), nil
}

func (keyIndexer) FromArgs(args ...any) ([]byte, error) {
	s, ok := args[0].(string)
	if !ok {
		return nil, errors.New("a key is a string")
	}
	return []byte(s + sep), nil
}

// PrefixFromArgs makes the prefix of all keys whose first parts are those given.
func (k keyIndexer) PrefixFromArgs(args ...any) ([]byte, error) { return k.FromArgs(args...) }

func newMemory() (*memdb.MemDB, error) {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, name := range append([]string{tableIndex}, memoryTables...) {
		schema.Tables[name] = &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: keyIndexer{}},
		}}
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		return nil, err
	}
	// Nobody waits on watches: a snapshot's handle does not track them, which makes writing cheaper.
	return db.Snapshot(), nil
}

// must takes the error of a memdb call: with a fixed schema and string keys there is none but a bug of this package.
func must[T any](v T, err error) T {
	if err != nil {
		panic("hub/store: memdb: " + err.Error())
	}
	return v
}

func get[T any](txn *memdb.Txn, table, key string) (T, bool) {
	if e, ok := must(txn.First(table, "id", key)).(*entry); ok {
		return e.value.(T), true
	}
	var zero T
	return zero, false
}

// all lists the values of a table in key order, only those under prefix when one is given.
func all[T any](txn *memdb.Txn, table string, prefix ...string) []T {
	var it memdb.ResultIterator
	if len(prefix) == 0 {
		it = must(txn.Get(table, "id"))
	} else {
		it = must(txn.Get(table, "id_prefix", key(prefix...)))
	}
	var out []T
	for e, ok := it.Next().(*entry); ok; e, ok = it.Next().(*entry) {
		out = append(out, e.value.(T))
	}
	return out
}

func insert(txn *memdb.Txn, table, key string, value any) {
	if err := txn.Insert(table, &entry{key: key, value: value}); err != nil {
		panic("hub/store: memdb: " + err.Error())
	}
}

func remove(txn *memdb.Txn, table, key string) {
	if err := txn.Delete(table, &entry{key: key}); err != nil && !errors.Is(err, memdb.ErrNotFound) {
		panic("hub/store: memdb: " + err.Error())
	}
}
