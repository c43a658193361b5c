package world_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/world"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

// TestMembership: an agent changes its certificate for the next at half life without being away for a moment; a cluster
// removed by force is put out at once, its agent's job runs on, and the job's last words stay, frozen.
func TestMembership(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w, err := world.New(ctx, dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer closeWorld(t, w)
		m, err := w.Join(ctx, "north")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Apply(ctx, world.Manifest("j", "north", 1)); err != nil {
			t.Fatal(err)
		}
		waitReady(ctx, t, w, "j")
		cluster := func() *adminv1.Cluster {
			t.Helper()
			got, err := w.Clusters.GetCluster(ctx, adminv1.GetClusterRequest_builder{Name: "north"}.Build())
			if err != nil {
				t.Fatal(err)
			}

			return got.GetCluster()
		}

		// 30 hours hold two renewals (at 9.6 to 14.4 hours each), and at most one more.
		certificates, away, last := 1, 0, cluster().GetCertificateExpiresAt().AsTime()
		for range 30 * 60 {
			time.Sleep(time.Minute)
			c := cluster()
			if !c.GetConnected() {
				away++
			}
			end := c.GetCertificateExpiresAt().AsTime()
			if !end.Equal(last) {
				certificates, last = certificates+1, end
			}
			if !time.Now().Before(end) {
				t.Fatalf("the certificate ended %s", end)
			}
		}
		if certificates < 3 || certificates > 4 || away != 0 {
			t.Errorf("%d certificates in 30 hours, want 3 or 4; %d times away, want 0", certificates, away)
		}
		// Five connections of 6 hours ± 10 %, and one for each renewal: every one of them resumes.
		if n := cluster().GetResumes(); n < int32(certificates) || n > 12 {
			t.Errorf("%d streams in 30 hours", n)
		}
		runs := m.Place.Disturbances()

		uid := cluster().GetUid()
		if _, err := w.Clusters.RemoveCluster(ctx, adminv1.RemoveClusterRequest_builder{Name: "north"}.Build()); err == nil {
			t.Error("removed a cluster with a job, without force")
		}
		if _, err := w.Clusters.RemoveCluster(ctx, adminv1.RemoveClusterRequest_builder{Name: "north", Force: true}.Build()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		j, err := w.Job(ctx, "j")
		if err != nil {
			t.Fatal(err)
		}
		if st := j.GetStatus(); st.GetFreshness() != "frozen" || st.GetState() != "Running" {
			t.Errorf("job is %s and %s, want its last word Running, frozen", st.GetState(), st.GetFreshness())
		}
		if n, err := w.Metric("waterwheel_hub_sessions"); err != nil || n != 0 {
			t.Errorf("%v sessions of a removed cluster (%v)", n, err)
		}
		if m.Place.Disturbances() != runs {
			t.Error("being put out disturbed the job where it runs")
		}
		again, err := w.Clusters.InviteCluster(ctx, adminv1.InviteClusterRequest_builder{Name: "north"}.Build())
		if err != nil || again.GetCluster().GetUid() == uid {
			t.Errorf("the name is not free for another cluster: %v", err)
		}
	})
}
