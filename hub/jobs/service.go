package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
)

// OrderSchema is the version of the bytes that encode makes.
const OrderSchema = 1

// Result says what an Apply came to.
type Result string

// The results of Apply.
const (
	Created    Result = "created"
	Configured Result = "configured"
	Unchanged  Result = "unchanged"
)

// Service changes jobs. Make one with New.
type Service struct {
	store  *store.Store
	encode func(flink.Order) ([]byte, error)
	random io.Reader
}

// New makes a Service. encode gives an order's bytes as they are shipped: the same order, the same bytes. random is
// where uids come from, nil: the system's source.
func New(s *store.Store, encode func(flink.Order) ([]byte, error), random io.Reader) *Service {
	if random == nil {
		random = rand.Reader
	}
	return &Service{store: s, encode: encode, random: random}
}

// Apply creates the job or changes its labels and spec; Tenant, Name, Labels and Spec of want count. expect is the
// generation that the caller saw, 0 for "must not exist", nil for any. The same labels and spec as the hub has are no
// change, whatever is expected. Refusals are *Invalid, *Conflict, or the store's.
func (s *Service) Apply(ctx context.Context, who string, want flink.Job, expect *int32) (store.Job, Result, error) {
	want.Spec = flink.Default(want.Spec)
	faults := flink.Validate(want.Tenant, want.Name, want.Labels, want.Spec)
	uid, err := s.newUID()
	if err != nil {
		return store.Job{}, "", err
	}
	var job store.Job // written in the committer's turn: read only after a nil error
	var result Result
	audit := store.Audit{Who: who, Verb: "job.apply", Object: object(want.Tenant, want.Name)}
	_, err = s.store.Write(ctx, audit, func(t *store.Txn) error {
		have, exists := t.JobByName(want.Tenant, want.Name)
		if exists && !have.Deleting && maps.Equal(have.Labels, want.Labels) && flink.SpecEqual(have.Spec, want.Spec) {
			job, result = have, Unchanged
			return nil
		}
		if exists && have.Deleting {
			return deletingConflict()
		}
		if faults := append(faults, placeFaults(t, want, have)...); len(faults) > 0 {
			return &Invalid{Faults: faults}
		}
		if expect != nil && *expect != have.Generation {
			return generationConflict(*expect, have.Generation)
		}
		var err error
		if result = Configured; exists {
			job, err = s.configure(t, have, want)
			return err
		}
		result = Created
		job, err = s.create(t, uid, want)
		return err
	})
	if err != nil {
		return store.Job{}, "", fmt.Errorf("apply job %s: %w", object(want.Tenant, want.Name), err)
	}
	return job, result, nil
}

func (s *Service) create(t *store.Txn, uid string, want flink.Job) (store.Job, error) {
	c, _ := t.ClusterByName(want.Spec.Cluster)
	j := store.Job{Job: flink.Job{
		UID: uid, Tenant: want.Tenant, Name: want.Name, Labels: want.Labels, Generation: 1, Spec: want.Spec,
		CreatedAt: t.Now(), UpdatedAt: t.Now(),
	}}
	a := flink.Assignment{JobUID: uid, ClusterUID: c.UID, Term: 1, Since: t.Now(), Why: "the spec names the cluster"}
	t.PutAssignment(a)
	t.Note(fmt.Sprintf("created generation 1 as %s on cluster %s, term 1", uid, c.Name))
	return s.write(t, j, a)
}

func (s *Service) configure(t *store.Txn, j store.Job, want flink.Job) (store.Job, error) {
	what := "labels"
	if diff := flink.Diff(j.Spec, want.Spec); !flink.SpecEqual(j.Spec, want.Spec) {
		j.Generation++
		what = fmt.Sprintf("generation %d: %v", j.Generation, diff)
	}
	j.Labels, j.Spec, j.UpdatedAt = want.Labels, want.Spec, t.Now()
	t.Note("configured " + what)
	return s.rewrite(t, j)
}

// Delete puts a tombstone for the job, which stands until its agent reports it gone. An empty policy is the default:
// savepoint, or cancel for a stateless job; asked again, it keeps the one that stands. A job whose cluster never joined,
// or was removed or banned, is dropped at once: nobody is left to report it gone.
func (s *Service) Delete(ctx context.Context, who, tenant, name string, policy flink.DeletePolicy, expect *int32) (store.Job, error) {
	if err := checkPolicy(policy); err != nil {
		return store.Job{}, fmt.Errorf("delete job %s: %w", object(tenant, name), err)
	}
	var job store.Job // written in the committer's turn: read only after a nil error
	audit := store.Audit{Who: who, Verb: "job.delete", Object: object(tenant, name)}
	_, err := s.store.Write(ctx, audit, func(t *store.Txn) error {
		j, ok := t.JobByName(tenant, name)
		switch {
		case !ok:
			return ErrNotFound
		case expect != nil && *expect != j.Generation:
			return generationConflict(*expect, j.Generation)
		}
		policy := policyFor(j, policy)
		if !j.Deleting {
			j.DeletedAt = t.Now()
		}
		same := j.Deleting && j.Policy == policy
		j.Deleting, j.Policy = true, policy
		a, _ := t.Assignment(j.UID)
		if c, ok := t.Cluster(a.ClusterUID); !ok || c.State != store.ClusterJoined || c.Banned {
			t.Note("dropped at once: its cluster never joined or is removed")
			job = j
			drop(t, j.UID, a.ClusterUID)
			return nil
		}
		if same {
			job = j
			return nil
		}
		j.UpdatedAt = t.Now()
		t.Note("policy " + string(policy))
		var err error
		job, err = s.rewrite(t, j)
		return err
	})
	if err != nil {
		return store.Job{}, fmt.Errorf("delete job %s: %w", object(tenant, name), err)
	}
	return job, nil
}

// policyFor is the policy that a deletion of j gets when asked is asked for.
func policyFor(j store.Job, asked flink.DeletePolicy) flink.DeletePolicy {
	switch {
	case asked != "":
		return asked
	case j.Deleting:
		return j.Policy
	case !j.Spec.Stateful():
		return flink.DeleteCancel
	}
	return flink.DeleteSavepoint
}

func checkPolicy(p flink.DeletePolicy) error {
	known := []string{string(flink.DeleteSavepoint), string(flink.DeleteCancel), string(flink.DeleteOrphan)}
	switch p {
	case "", flink.DeleteSavepoint, flink.DeleteCancel, flink.DeleteOrphan:
		return nil
	}
	remedy := "must be savepoint, cancel or orphan"
	if near := flink.Near(string(p), known); near != "" {
		remedy += fmt.Sprintf(" (did you mean %q?)", near)
	}
	return &Invalid{Faults: []flink.Fault{{Field: "policy", Value: string(p), Remedy: remedy}}}
}

// Restart asks for a new run of the job as it is, also of one that is Failed or Finished. It is no new generation. From
// names the snapshot that this one run starts from, whatever else is on record; empty: the newest proven one.
func (s *Service) Restart(ctx context.Context, who, tenant, name, from string) (store.Job, error) {
	if from != "" {
		if faults := flink.ValidateSnapshot("from", from); len(faults) > 0 {
			return store.Job{}, fmt.Errorf("restart job %s: %w", object(tenant, name), &Invalid{Faults: faults})
		}
	}
	var job store.Job // written in the committer's turn: read only after a nil error
	audit := store.Audit{Who: who, Verb: "job.restart", Object: object(tenant, name)}
	_, err := s.store.Write(ctx, audit, func(t *store.Txn) error {
		j, ok := t.JobByName(tenant, name)
		switch {
		case !ok:
			return ErrNotFound
		case j.Deleting:
			return deletingConflict()
		}
		j.Restart++
		j.RestartFrom = from
		j.UpdatedAt = t.Now()
		note := fmt.Sprintf("restart %d", j.Restart)
		if from != "" {
			note += " from " + from
		}
		t.Note(note)
		var err error
		job, err = s.rewrite(t, j)
		return err
	})
	if err != nil {
		return store.Job{}, fmt.Errorf("restart job %s: %w", object(tenant, name), err)
	}
	return job, nil
}

// Gone drops a deleted job, once the agent that held it reported that nothing of it is left: job, assignment and order
// in one write. Said again it is no change. It drops nothing for a job that nobody deleted, for a cluster that does not
// hold it, or for an earlier term: ErrNotDeleting.
func (s *Service) Gone(ctx context.Context, clusterUID, jobUID string, term int32) error {
	audit := store.Audit{Who: "cluster/" + clusterUID, Verb: "job.gone", Object: jobUID}
	_, err := s.store.Write(ctx, audit, func(t *store.Txn) error {
		j, ok := t.Job(jobUID)
		if !ok {
			return nil // said before, and the answer was lost
		}
		a, _ := t.Assignment(jobUID)
		if !j.Deleting || a.ClusterUID != clusterUID || a.Term != term {
			return ErrNotDeleting
		}
		t.Note(object(j.Tenant, j.Name) + " is gone")
		drop(t, jobUID, clusterUID)
		return nil
	})
	if err != nil {
		return fmt.Errorf("job %s gone from cluster %s: %w", jobUID, clusterUID, err)
	}
	return nil
}

func drop(t *store.Txn, jobUID, clusterUID string) {
	t.DropOrder(clusterUID, jobUID)
	t.DeleteAssignment(jobUID)
	t.DeleteJob(jobUID)
}

// rewrite writes a job that exists, and its order to whoever holds it.
func (s *Service) rewrite(t *store.Txn, j store.Job) (store.Job, error) {
	a, ok := t.Assignment(j.UID)
	if !ok {
		return store.Job{}, fmt.Errorf("job %s has no assignment", j.UID)
	}
	return s.write(t, j, a)
}

// write puts a job and the order that follows from it.
func (s *Service) write(t *store.Txn, j store.Job, a flink.Assignment) (store.Job, error) {
	order := flink.OrderFor(j.Job, a)
	body, err := s.encode(order)
	if err != nil {
		return store.Job{}, fmt.Errorf("encode the order: %w", err)
	}
	t.PutJob(j)
	t.PutOrder(store.FeedRow{
		ClusterUID: a.ClusterUID, UID: j.UID, Generation: order.Generation, Term: order.Term,
		Deleted: order.Deleted, Policy: order.Policy, Body: body, Schema: OrderSchema,
	})
	j, _ = t.Job(j.UID)
	return j, nil
}

func (s *Service) newUID() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(s.random, b); err != nil {
		return "", fmt.Errorf("make a uid: %w", err)
	}
	return hex.EncodeToString(b), nil
}

func object(tenant, name string) string { return tenant + "/" + name }
