package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/flink"
)

// errUnread is why a snapshot cannot be looked at: the agent has no credentials of any state storage.
var errUnread = errors.New("state storage cannot be read from here, Flink will tell")

// Snapshots implements reconcile.Snapshots by what Flink keeps in the cluster.
type Snapshots struct{ runtime *Runtime }

// Snapshots are those of the runs of this place.
func (r *Runtime) Snapshots() Snapshots { return Snapshots{r} }

// Exists implements reconcile.Snapshots: it is never known.
func (s Snapshots) Exists(_ context.Context, path string) (bool, error) {
	return false, fmt.Errorf("%s: %w", path, errUnread)
}

// Newest implements reconcile.Snapshots by the run's record of checkpoints,
// which Flink removes when the job comes to its end, and End does not. Of one
// that was removed it answers what the watch saw last, if it saw everything.
func (s Snapshots) Newest(ctx context.Context, run flink.Run, checkpointsDir string) (flink.Snapshot, error) {
	cm, err := s.pointers(ctx, run)
	if err != nil {
		return flink.Snapshot{}, fmt.Errorf("find the newest checkpoint of run %s: %w", run, err)
	}
	id, seen := s.remembered(run)
	if cm != nil {
		if key := damage(cm); key != "" {
			return flink.Snapshot{}, fmt.Errorf("find the newest checkpoint of run %s: ConfigMap %s was changed by hand: %s is not what Flink writes, and %w", run, cm.Name, key, errUnread)
		}
		id, seen = newestPointer(cm), true
	}
	if !seen {
		return flink.Snapshot{}, fmt.Errorf("find the newest checkpoint of run %s: there is no record of its checkpoints in the cluster, and %w", run, errUnread)
	}
	if id == 0 {
		return flink.Snapshot{}, nil
	}
	path := fmt.Sprintf("%s/%s/chk-%d", strings.TrimRight(checkpointsDir, "/"), run.JobID(), id)
	return flink.Snapshot{Path: flink.NormalizePath(path), Kind: flink.KindCheckpoint, ID: id, Run: run}, nil
}

// remembered is the last number that was watched on the run's record, in whichever namespace that was.
func (s Snapshots) remembered(run flink.Run) (id int64, seen bool) {
	for _, sp := range s.runtime.spaces {
		if n, ok := sp.remembered.of(run); ok {
			return n, true
		}
	}
	return 0, false
}

// Savepoint implements reconcile.Snapshots. As long as the record of checkpoints
// is there the job did not come to its end, so no stop was completed; without it
// nobody here can tell.
func (s Snapshots) Savepoint(ctx context.Context, run flink.Run, directory string) (flink.Snapshot, error) {
	cm, err := s.pointers(ctx, run)
	if err == nil && cm == nil {
		err = errUnread
	}
	if err != nil {
		return flink.Snapshot{}, fmt.Errorf("look for a savepoint in %s: %w", directory, err)
	}
	return flink.Snapshot{}, nil
}

// pointers asks the API server for the run's record of checkpoints; nil: there is none.
func (s Snapshots) pointers(ctx context.Context, run flink.Run) (*corev1.ConfigMap, error) {
	spaces, err := s.runtime.settled(run.UID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	for _, sp := range spaces {
		list, err := s.runtime.client.CoreV1().ConfigMaps(sp.namespace).List(ctx, metav1.ListOptions{LabelSelector: selectRunHA(run)})
		if err != nil {
			return nil, fmt.Errorf("list its high availability data: %w", err)
		}
		for i := range list.Items {
			if isPointers(run, &list.Items[i]) {
				return &list.Items[i], nil
			}
		}
	}
	return nil, nil
}
