package store

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/waterwheel-io/waterwheel/flink"
)

// BenchmarkWrite is a job, its assignment and a 1 KiB order per write, from 64 writers, answered when durable and
// visible. Its peer, measured in the same run, is the least that durability costs on this disk: bbolt alone, one
// appended kilobyte a transaction. ratio is writes a second against the peer's.
func BenchmarkWrite(b *testing.B) {
	peer := rawAppends(b)
	s := start(b, Options{Dir: b.TempDir(), Init: true})
	defer s.stop(b)
	body := make([]byte, 1024)
	var n atomic.Int64
	b.SetParallelism(32) // 64 writers on two cores
	b.ResetTimer()
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			_, err := s.Write(b.Context(), who, func(txn *Txn) error {
				uid, cluster := fmt.Sprintf("j%d", i%5000), fmt.Sprintf("c%d", i%100)
				txn.PutJob(Job{Job: flink.Job{UID: uid, Tenant: "default", Name: uid, Generation: 1, Spec: flink.Spec{Cluster: cluster}}})
				txn.PutAssignment(flink.Assignment{JobUID: uid, ClusterUID: cluster, Term: 1})
				txn.PutOrder(FeedRow{ClusterUID: cluster, UID: uid, Generation: 1, Term: 1, Body: body})
				return nil
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
	writes := float64(b.N) / time.Since(began).Seconds()
	b.ReportMetric(writes, "writes/s")
	b.ReportMetric(peer, "peer-appends/s")
	b.ReportMetric(writes/peer, "ratio")
}

// BenchmarkWriteAlone is one writer that waits for each answer.
func BenchmarkWriteAlone(b *testing.B) {
	peer := rawAppends(b)
	s := start(b, Options{Dir: b.TempDir(), Init: true})
	defer s.stop(b)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		uid := fmt.Sprintf("j%d", i%5000)
		s.write(b, func(txn *Txn) { putJob(txn, "c1", uid, uid, 1) })
	}
	writes := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(writes, "writes/s")
	b.ReportMetric(writes/peer, "ratio")
}

// rawAppends measures how many single durable appends a second bbolt does here.
func rawAppends(b *testing.B) float64 {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "peer.db"), 0o600, boltOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	value := make([]byte, 1024)
	began, n := time.Now(), int64(0)
	for ; time.Since(began) < 500*time.Millisecond; n++ {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("log"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 1
			return bucket.Put(be8(n), value)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}
