package admin_test

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/hub/store"
)

func TestFreshnessIsLiveOnlyWhileTheSessionIsHeardOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	joined := store.Cluster{State: store.ClusterJoined}
	for name, c := range map[string]struct {
		cluster store.Cluster
		session admin.Session
		want    string
	}{
		"heard of just now":     {joined, admin.Session{Up: true, LastSeen: now}, admin.Live},
		"heard of a minute ago": {joined, admin.Session{Up: true, LastSeen: now.Add(-time.Minute)}, admin.Live},
		"silent for longer":     {joined, admin.Session{Up: true, LastSeen: now.Add(-time.Minute - 1)}, admin.Stale},
		"stream ended just now": {joined, admin.Session{LastSeen: now}, admin.Stale},
		"never seen":            {joined, admin.Session{}, admin.Stale},
		"removed, stream is up": {store.Cluster{State: store.ClusterRemoved}, admin.Session{Up: true, LastSeen: now}, admin.Frozen},
		"banned, stream is up":  {store.Cluster{State: store.ClusterJoined, Banned: true}, admin.Session{Up: true, LastSeen: now}, admin.Frozen},
		"no cluster at all":     {store.Cluster{}, admin.Session{}, admin.Stale},
	} {
		if got := admin.Freshness(c.cluster, c.session, now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
