package session

import (
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

func cursorToProto(c feed.Cursor) *agentv1.Cursor {
	if c.IsZero() {
		return nil
	}

	return agentv1.Cursor_builder{EpochId: c.EpochID, Revision: c.Revision}.Build()
}

func epochFromProto(e *agentv1.Epoch) feed.Epoch {
	return feed.Epoch{Number: e.GetNumber(), ID: e.GetId()}
}

func frameFromProto(d *agentv1.Delta) feed.Frame {
	f := feed.Frame{Epoch: epochFromProto(d.GetEpoch()), Rows: make([]feed.Row, 0, len(d.GetRows()))}
	for _, r := range d.GetRows() {
		f.Rows = append(f.Rows, feed.Row{
			UID:        r.GetUid(),
			Version:    feed.Version{EpochNumber: r.GetVersion().GetEpochNumber(), Revision: r.GetVersion().GetRevision()},
			Generation: r.GetGeneration(), Term: r.GetTerm(), Kind: int32(r.GetKind()), Deleted: r.GetDeleted(),
			Policy: flink.DeletePolicy(r.GetDeletePolicy()), Hash: r.GetHash(), Body: r.GetBody(), MAC: r.GetMac(), Schema: r.GetSchema(),
		})
	}
	if !d.GetMore() {
		f.Cursor = feed.Cursor{EpochID: f.Epoch.ID, Revision: d.GetToRevision()}
	}

	return f
}

func nackToProto(n feed.Nack) *agentv1.Nack {
	version := agentv1.Version_builder{EpochNumber: n.Version.EpochNumber, Revision: n.Version.Revision}.Build()

	return agentv1.Nack_builder{Uid: n.UID, Version: version, Code: n.Code, Class: n.Class, Text: n.Text}.Build()
}
