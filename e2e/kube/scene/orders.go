package scene

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

// frameBytes is how much one frame carries, as the hub fills them.
const frameBytes = 64 << 10

// epoch is that of the hub that is not there.
func epoch() feed.Epoch { return feed.Epoch{Number: 1, ID: "scene"} }

// Place is where the tenant's runs are brought up. A root has them keep state, and be highly available.
func Place(root string) render.Place {
	return render.Place{
		Namespace: Namespace, Images: map[string]string{"2.3": "flink:2.3"}, StateRoot: root,
		Agent: render.Peer{Namespace: Own, Labels: map[string]string{"app.kubernetes.io/name": "waterwheel-agent"}},
	}
}

// Orders are those of n jobs that differ in their names alone.
func Orders(n int, mode string) []flink.Order {
	spec := flink.Default(flink.Spec{
		Cluster: "scene", FlinkVersion: "2.3", Parallelism: 2, UpgradeMode: mode,
		Jar:           flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main", Args: []string{"--rate", "100"}},
		Checkpointing: flink.Checkpointing{Interval: "10s"},
		JobManager:    flink.Resources{CPU: "0.5", Memory: "1Gi"},
		TaskManager:   flink.TaskManager{Resources: flink.Resources{CPU: "1", Memory: "1Gi"}, Slots: 2},
	})
	out := make([]flink.Order, n)
	for i := range out {
		sum := sha256.Sum256([]byte(strconv.Itoa(i)))
		out[i] = flink.Order{
			UID: hex.EncodeToString(sum[:16]), Tenant: Tenant, Name: fmt.Sprintf("job-%d", i), Generation: 1, Term: 1, Spec: spec,
		}
	}
	return out
}

// FirstRun is the run that the agent makes of a new order.
func FirstRun(o flink.Order) flink.Run { return flink.Run{UID: o.UID, Term: o.Term, Run: 1} }

// frames are orders as the hub sends them.
func frames(orders []flink.Order) ([]feed.Frame, error) {
	var out []feed.Frame
	f, size := feed.Frame{Epoch: epoch()}, 0
	for i, o := range orders {
		body, err := wire.OrderBytes(o)
		if err != nil {
			return nil, err
		}
		if size += len(body); size > frameBytes && len(f.Rows) > 0 {
			out = append(out, f)
			f, size = feed.Frame{Epoch: epoch()}, len(body)
		}
		sum := sha256.Sum256(body)
		revision := int64(i + 1)
		f.Rows = append(f.Rows, feed.Row{
			UID: o.UID, Version: feed.Version{EpochNumber: epoch().Number, Revision: revision}, Generation: o.Generation, Term: o.Term,
			Kind: feed.KindJob, Schema: feed.SchemaOrder, Body: body, Hash: sum[:],
		})
		f.Cursor = feed.Cursor{EpochID: epoch().ID, Revision: revision}
	}
	return append(out, f), nil
}
