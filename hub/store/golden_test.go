package store

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
)

var updateGolden = flag.Bool("update", false, "write the golden database of the current schema anew")

// The database of each released schema opens for ever. Made with -update once; after that its bytes are not ours to change.
func TestDatabasesOfEachSchemaOpen(t *testing.T) {
	if *updateGolden {
		makeGolden(t, filepath.Join("testdata", fmt.Sprintf("schema%d", Schema)))
	}
	for schema := 1; schema <= Schema; schema++ {
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{logFile, rowsFile} {
				unpack(t, filepath.Join("testdata", fmt.Sprintf("schema%d", schema), name+".gz"), filepath.Join(dir, name))
			}
			for range 2 { // the second time what the first made of it
				golden(t, dir)
			}
		})
	}
}

// golden checks what makeGolden made, after any number of starts.
func golden(t *testing.T, dir string) {
	t.Helper()
	s := start(t, Options{Dir: dir})
	defer s.stop(t)
	for name, db := range map[string]*bbolt.DB{logFile: s.log.(*boltLog).db, rowsFile: s.rows.db} {
		err := db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket([]byte(bucketMeta)); schemaOf(b.Get([]byte(metaSchema))) != Schema || len(b.Get([]byte(metaSum))) != 8 {
				t.Errorf("%s was not brought to schema %d", name, Schema)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	v := s.View()
	j, ok := v.JobByName("default", "clicks")
	if !ok || j.Generation != 2 || j.Spec.Jar.Args[1] != "100" || j.Spec.TaskManager.Memory != "1Gi" || j.Labels["team"] != "web" {
		t.Errorf("job: %+v", j)
	}
	if a, ok := v.Assignment(j.UID); !ok || a.ClusterUID != "c1" || a.Term != 1 {
		t.Errorf("assignment: %+v", a)
	}
	if c, ok := v.ClusterByName("eu-1"); !ok || c.State != ClusterJoined || c.KeyHash != "abcd" || c.JoinedAt.Year() != 2026 {
		t.Errorf("cluster: %+v", c)
	}
	if k := v.TokensOf("c1"); len(k) != 1 || len(k[0].Chain) != 2 {
		t.Errorf("tokens: %+v", k)
	}
	if _, ok := v.Tenant("default"); !ok {
		t.Error("no tenant")
	}
	rows, _, _ := s.Feed("c1", 0, 1<<20, false)
	if len(rows) != 1 || string(rows[0].Body) != "order 2" || string(rows[0].MAC) != "mac" || rows[0].Version.Revision != 3 {
		t.Errorf("feed: %+v", rows)
	}
	if r, ok := s.Status(j.UID); !ok || r.Status.State != flink.Running || r.Status.Snapshot.ID != 7 || r.Nack == nil || r.Nack.Code != "PERMANENT" {
		t.Errorf("status: %+v", r)
	}
	if specs, err := s.SpecHistory(j.UID); err != nil || len(specs) != 2 || specs[0].Spec.Parallelism != 1 {
		t.Errorf("history: %+v, %v", specs, err)
	}
	if tail, err := s.AuditTail(10); err != nil || len(tail) != 4 || tail[1].Verb != "job.apply" {
		t.Errorf("audit: %+v, %v", tail, err)
	}
	if _, ok, err := s.Stub("c1", "old"); !ok || err != nil {
		t.Errorf("stub: %v, %v", ok, err)
	}
	if spans := s.Ancestry(); len(spans) < 2 || spans[0].First != 1 || spans[0].Last != 4 {
		t.Errorf("ancestry: %+v", spans)
	}
}

func makeGolden(t *testing.T, dir string) {
	t.Helper()
	work := t.TempDir()
	s := start(t, Options{Dir: work, Init: true, MAC: func(FeedRow) []byte { return []byte("mac") }})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	job := func(txn *Txn, generation int32) {
		txn.PutJob(Job{Job: flink.Job{
			UID: "j1", Tenant: "default", Name: "clicks", Labels: map[string]string{"team": "web"}, Generation: generation, CreatedAt: at, UpdatedAt: at,
			Spec: flink.Spec{
				Cluster: "eu-1", State: flink.StateRunning, FlinkVersion: "2.3", Parallelism: generation, UpgradeMode: flink.UpgradeSavepoint,
				Jar:         flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main", Args: []string{"--rate", "100"}},
				TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "1", Memory: "1Gi"}, Slots: 2},
			},
		}})
		txn.PutAssignment(flink.Assignment{JobUID: "j1", ClusterUID: "c1", Term: 1, Since: at, Why: "the spec names the cluster"})
		txn.PutOrder(FeedRow{ClusterUID: "c1", UID: "j1", Generation: generation, Term: 1, Body: []byte{'o', 'r', 'd', 'e', 'r', ' ', '0' + byte(generation)}, Schema: 1})
	}
	s.write(t, func(txn *Txn) {
		txn.PutTenant(Tenant{Name: "default"})
		txn.PutCluster(Cluster{UID: "c1", Name: "eu-1", State: ClusterJoined, CreatedAt: at, JoinedAt: at, SiteUID: "site", CertSerial: "01", CertNotAfter: at, KeyHash: "abcd"})
		txn.PutToken(Token{Hash: "h1", ClusterUID: "c1", CreatedAt: at, ExpiresAt: at, UsedAt: at, KeyHash: "abcd", Chain: [][]byte{{1}, {2}}})
	})
	apply := Audit{At: at, Who: "admin/root", Verb: "job.apply", Object: "default/clicks"}
	if _, err := s.Write(t.Context(), apply, func(txn *Txn) error { job(txn, 1); txn.PutOrder(FeedRow{ClusterUID: "c1", UID: "old"}); return nil }); err != nil {
		t.Fatal(err)
	}
	s.write(t, func(txn *Txn) { job(txn, 2); txn.DropOrder("c1", "old") })
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write(t, func(txn *Txn) { txn.PutTenant(Tenant{Name: "default"}) }) // only in the log
	order, _ := s.View().Order("c1", "j1")
	row := StatusRow{
		JobUID: "j1", Status: flink.Status{Term: 1, State: flink.Running, Snapshot: flink.Snapshot{Path: "file:/a/chk-7", ID: 7}},
		Nack: &Nack{Version: order.Version, Code: "PERMANENT", Text: "why", At: at},
	}
	if err := s.PutStatuses(t.Context(), "c1", []StatusRow{row}, true); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{logFile, rowsFile} {
		pack(t, filepath.Join(work, name), filepath.Join(dir, name+".gz"))
	}
}

// pack compacts a bbolt file, so that no room to grow is kept, and compresses it.
func pack(t *testing.T, from, to string) {
	t.Helper()
	small := from + ".small"
	src, err := bbolt.Open(from, 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	dst, err := bbolt.Open(small, 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := bbolt.Compact(dst, src, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = src.Close(), dst.Close()
	b, err := os.ReadFile(small)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
