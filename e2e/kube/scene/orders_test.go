package scene

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestEachOrderIsInOneFrameAndCanBeUsed(t *testing.T) {
	orders := Orders(500, flink.UpgradeSavepoint)
	all, err := frames(orders)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, f := range all {
		size := 0
		for _, r := range f.Rows {
			if _, err := decode(r.Body); err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			size += len(r.Body)
			seen[r.UID] = true
		}
		if size > frameBytes || f.Cursor.Revision < int64(len(f.Rows)) {
			t.Errorf("frame %d has %d bytes, its cursor is %+v", i, size, f.Cursor)
		}
	}
	if len(seen) != len(orders) || len(all) < 2 {
		t.Errorf("%d of %d orders in %d frames", len(seen), len(orders), len(all))
	}
}

func TestTheStandInCompletesACheckpointEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Orders(1, flink.UpgradeSavepoint)[0]
		f := NewFlink([]flink.Order{o}, "s3://b/root", nil)
		at := render.Endpoint(FirstRun(o), Namespace)
		if r := f.Observe(t.Context(), at, flink.RESTQuery{}); !r.Reachable || r.Job != nil || r.TaskManagers != o.Spec.TaskManagers() {
			t.Fatalf("before: %+v", r)
		}
		if err := f.Submit(t.Context(), at, flink.Submission{JobID: FirstRun(o).JobID()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second) // of false time
		j := f.Observe(t.Context(), at, flink.RESTQuery{}).Job
		if j == nil || !j.AllRunning() || j.Latest.ID != 2 {
			t.Errorf("after 25 s: %+v", j)
		}
		if r := f.Observe(t.Context(), "https://elsewhere", flink.RESTQuery{}); r.Reachable {
			t.Error("it answers for others")
		}
	})
}
