package recordstest

import (
	"crypto/sha256"
	"encoding/json"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// Decode reads the body of an order as Order writes it.
func Decode(b []byte) (flink.Order, error) {
	var o flink.Order
	err := json.Unmarshal(b, &o)

	return o, err
}

// Order is the row of a job.
func Order(uid string, epoch, revision int64, generation, term int32) feed.Row {
	return Row(flink.Order{UID: uid, Tenant: "team-a", Name: "n-" + uid, Generation: generation, Term: term}, epoch, revision)
}

// Row is the row of an order.
func Row(o flink.Order, epoch, revision int64) feed.Row {
	body := records.Marshal(o)
	sum := sha256.Sum256(body)

	return feed.Row{
		UID: o.UID, Version: feed.Version{EpochNumber: epoch, Revision: revision}, Generation: o.Generation, Term: o.Term,
		Kind: feed.KindJob, Schema: feed.SchemaOrder, Body: body, Hash: sum[:], MAC: []byte("mac"),
	}
}

// Tombstone is the row of a deleted job.
func Tombstone(uid string, epoch, revision int64, term int32, policy flink.DeletePolicy) feed.Row {
	sum := sha256.Sum256(nil)

	return feed.Row{
		UID: uid, Version: feed.Version{EpochNumber: epoch, Revision: revision}, Term: term, Kind: feed.KindJob,
		Deleted: true, Policy: policy, Hash: sum[:],
	}
}

// Frame is a frame of the branch e1 up to a revision.
func Frame(revision int64, rows ...feed.Row) feed.Frame {
	return feed.Frame{Epoch: feed.Epoch{Number: 1, ID: "e1"}, Rows: rows, Cursor: feed.Cursor{EpochID: "e1", Revision: revision}}
}
