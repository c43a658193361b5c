package cli

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// now is when all tests happen.
var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

// fakeHub answers from memory. Fail, if set, is asked before each call.
type fakeHub struct {
	adminv1connect.UnimplementedJobServiceHandler
	adminv1connect.UnimplementedClusterServiceHandler

	mu       sync.Mutex // guards all below; what jobs and clusters point to is never changed
	jobs     []*flinkv1.Job
	clusters []*adminv1.Cluster
	fail     func(call string) error
	calls    []string
	applied  []*flinkv1.Job
	deleted  []string
	pageSize int
}

// change replaces the jobs while commands run.
func (f *fakeHub) change(to func(jobs []*flinkv1.Job) []*flinkv1.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = to(f.jobs)
}

// first is a change of the first job.
func (f *fakeHub) first(edit func(*flinkv1.Job)) {
	f.change(func(jobs []*flinkv1.Job) []*flinkv1.Job {
		next := proto.CloneOf(jobs[0])
		edit(next)
		return append([]*flinkv1.Job{next}, jobs[1:]...)
	})
}

func (f *fakeHub) called(call string) error {
	f.calls = append(f.calls, call)
	if f.fail == nil {
		return nil
	}
	return f.fail(call)
}

func (f *fakeHub) lookup(tenant, name string) *flinkv1.Job {
	for _, j := range f.jobs {
		if j.GetMetadata().GetName() == name && j.GetMetadata().GetTenant() == tenant {
			return j
		}
	}
	return nil
}

func (f *fakeHub) find(tenant, name string) (*flinkv1.Job, error) {
	if j := f.lookup(tenant, name); j != nil {
		return j, nil
	}
	return nil, connect.Errorf(connect.CodeNotFound, "no job %q", name)
}

func (f *fakeHub) GetJob(_ context.Context, req *adminv1.GetJobRequest) (*adminv1.GetJobResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("GetJob"); err != nil {
		return nil, err
	}
	j, err := f.find(req.GetTenant(), req.GetName())
	if err != nil {
		return nil, err
	}
	return adminv1.GetJobResponse_builder{Job: j}.Build(), nil
}

func (f *fakeHub) ListJobs(_ context.Context, req *adminv1.ListJobsRequest) (*adminv1.ListJobsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("ListJobs " + req.GetPageToken()); err != nil {
		return nil, err
	}
	var all []*flinkv1.Job
	for _, j := range f.jobs {
		if name := j.GetMetadata().GetName(); (req.GetCluster() == "" || req.GetCluster() == j.GetSpec().GetCluster()) && name > req.GetPageToken() {
			all = append(all, j)
		}
	}
	resp := adminv1.ListJobsResponse_builder{Items: all}
	if f.pageSize > 0 && len(all) > f.pageSize {
		resp.Items = all[:f.pageSize]
		resp.NextPageToken = all[f.pageSize-1].GetMetadata().GetName()
	}
	return resp.Build(), nil
}

func (f *fakeHub) ApplyJob(_ context.Context, req *adminv1.ApplyJobRequest) (*adminv1.ApplyJobResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("ApplyJob"); err != nil {
		return nil, err
	}
	f.applied = append(f.applied, req.GetJob())
	m := req.GetJob().GetMetadata()
	old := f.lookup(m.GetTenant(), m.GetName())
	if old == nil {
		f.jobs = append(f.jobs, req.GetJob())
		return adminv1.ApplyJobResponse_builder{Job: req.GetJob(), Result: "created"}.Build(), nil
	}
	result := "configured"
	if proto.Equal(old.GetSpec(), req.GetJob().GetSpec()) {
		result = "unchanged"
	}
	return adminv1.ApplyJobResponse_builder{Job: old, Result: result}.Build(), nil
}

func (f *fakeHub) DeleteJob(_ context.Context, req *adminv1.DeleteJobRequest) (*adminv1.DeleteJobResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("DeleteJob"); err != nil {
		return nil, err
	}
	j, err := f.find(req.GetTenant(), req.GetName())
	if err != nil {
		return nil, err
	}
	f.deleted = append(f.deleted, req.GetName()+" "+req.GetPolicy())
	return adminv1.DeleteJobResponse_builder{Job: j}.Build(), nil
}

func (f *fakeHub) RestartJob(_ context.Context, req *adminv1.RestartJobRequest) (*adminv1.RestartJobResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("RestartJob"); err != nil {
		return nil, err
	}
	j, err := f.find(req.GetTenant(), req.GetName())
	if err != nil {
		return nil, err
	}
	return adminv1.RestartJobResponse_builder{Job: j}.Build(), nil
}

func (f *fakeHub) ListClusters(context.Context, *adminv1.ListClustersRequest) (*adminv1.ListClustersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("ListClusters"); err != nil {
		return nil, err
	}
	return adminv1.ListClustersResponse_builder{Items: f.clusters}.Build(), nil
}

func (f *fakeHub) GetCluster(_ context.Context, req *adminv1.GetClusterRequest) (*adminv1.GetClusterResponse, error) {
	for _, c := range f.clusters {
		if c.GetName() == req.GetName() {
			return adminv1.GetClusterResponse_builder{Cluster: c}.Build(), nil
		}
	}
	return nil, connect.Errorf(connect.CodeNotFound, "no cluster %q", req.GetName())
}

func (f *fakeHub) InviteCluster(_ context.Context, req *adminv1.InviteClusterRequest) (*adminv1.InviteClusterResponse, error) {
	return adminv1.InviteClusterResponse_builder{
		Cluster: adminv1.Cluster_builder{Name: req.GetName(), State: "invited"}.Build(), Token: "t0ken", ExpiresAt: ago(-time.Hour),
		CaPin: "sha256:ab", CaBundle: "PEM\n", HubAddress: "hub:7444", TrustDomain: "example.org",
	}.Build(), nil
}

func (f *fakeHub) RemoveCluster(_ context.Context, req *adminv1.RemoveClusterRequest) (*adminv1.RemoveClusterResponse, error) {
	if !req.GetForce() {
		return nil, connect.NewError(connect.CodeFailedPrecondition, "2 jobs are assigned to "+req.GetName())
	}
	return new(adminv1.RemoveClusterResponse), nil
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

func (f *fakeHub) client() *connect.Client {
	server := connect.NewServer()
	adminv1connect.RegisterJobServiceHandler(server, f)
	adminv1connect.RegisterClusterServiceHandler(server, f)
	return connect.NewClient(connectinprocess.New(server))
}

// do runs a command line against the fake.
func (f *fakeHub) do(ctx context.Context, stdin string, args ...string) result {
	var out, errs bytes.Buffer
	a := &app{now: func() time.Time { return now }, colour: func(io.Writer) bool { return false }}
	a.dial = func(string) (*hub, error) {
		h := newHub(f.client())
		h.name, h.server = "test", "hub:7443"
		return h, nil
	}
	root := newRoot(a)
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(stdin))
	code := execute(ctx, root, args)
	return result{code, out.String(), errs.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func runningJob() *flinkv1.Job {
	return flinkv1.Job_builder{
		ApiVersion: "waterwheel.dev/v1", Kind: "Job",
		Metadata: flinkv1.Metadata_builder{
			Name: "clicks", Tenant: "default", Labels: map[string]string{"team": "web"}, Uid: "0198c1f2", Generation: proto.Int32(3), Revision: "41",
			CreatedAt: ago(26 * time.Hour),
		}.Build(),
		Spec: flinkv1.JobSpec_builder{
			Cluster: "eu-1", State: "running", FlinkVersion: "2.3", Parallelism: 2, UpgradeMode: "savepoint", Switch: "warm",
			Jar:                flinkv1.Jar_builder{Uri: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main", Args: []string{"--rate", "100"}}.Build(),
			Checkpointing:      flinkv1.Checkpointing_builder{Interval: "10s"}.Build(),
			JobManager:         flinkv1.Resources_builder{Cpu: "0.5", Memory: "512Mi"}.Build(),
			TaskManager:        flinkv1.TaskManager_builder{Cpu: "0.5", Memory: "512Mi", Slots: 1}.Build(),
			FlinkConfiguration: map[string]string{"restart-strategy.type": "exponential-delay"},
		}.Build(),
		Status: flinkv1.JobStatus_builder{
			ObservedGeneration: 3, RecordedGeneration: 3, State: "Running", Cluster: "eu-1", Term: 1, Run: 4, Situation: "InSync",
			Message: "Running since 11:30 from savepoint file:/s/savepoints/savepoint-1", AsOf: ago(3 * time.Second), Freshness: "live",
			Flink: flinkv1.FlinkStatus_builder{
				JobId: "ab12", State: "RUNNING", TasksRunning: 4, TasksTotal: 4, Version: "2.3.0", Parallelism: 2, Checkpoints: 180, StartTime: ago(30 * time.Minute),
			}.Build(),
			Snapshot: flinkv1.Snapshot_builder{
				Path: "file:/s/chk-180", Kind: "checkpoint", CompletedAt: ago(7 * time.Second), Term: 1, Run: 4, Id: "180",
			}.Build(),
			Restored: flinkv1.Restored_builder{Intended: "file:/s/savepoints/savepoint-1", Actual: "file:/s/savepoints/savepoint-1", Proven: true}.Build(),
			Conditions: []*flinkv1.Condition{
				flinkv1.Condition_builder{Type: "Ready", Status: "True", Reason: "InSync", Message: "All tasks run", LastTransitionTime: ago(30 * time.Minute)}.Build(),
				flinkv1.Condition_builder{Type: "Stalled", Status: "False", Reason: "InSync", LastTransitionTime: ago(3 * time.Hour)}.Build(),
			},
			Transitions: []*flinkv1.Transition{
				flinkv1.Transition_builder{At: ago(31 * time.Minute), Situation: "SpecChanged", State: "Upgrading", Message: "Warming the next run", Run: 3}.Build(),
				flinkv1.Transition_builder{At: ago(30 * time.Minute), Situation: "InSync", State: "Running", Message: "All tasks run", Run: 4}.Build(),
			},
			Links: flinkv1.Links_builder{
				FlinkUi: "http://127.0.0.1:41234", Logs: []string{"/w/runs/r4/jobmanager.log", "/w/runs/r4/taskmanager-1.log"},
				CheckpointsDir: "file:/s/checkpoints", SavepointsDir: "file:/s/savepoints",
			}.Build(),
		}.Build(),
	}.Build()
}

// sampleJobs are one job each of the kinds that look different.
func sampleJobs() []*flinkv1.Job {
	stale := proto.CloneOf(runningJob())
	stale.GetMetadata().SetName("dark")
	stale.GetStatus().SetFreshness("stale")
	stale.GetStatus().SetAsOf(ago(20 * time.Minute))
	stale.GetStatus().GetConditions()[0].SetStatus("Unknown")

	failed := proto.CloneOf(runningJob())
	failed.GetMetadata().SetName("mistyped-class")
	failed.SetStatus(flinkv1.JobStatus_builder{
		RecordedGeneration: 3, State: "Failed", Cluster: "eu-1", Term: 1, Situation: "StartImpossible", Freshness: "live", AsOf: ago(2 * time.Second),
		Message: "java.lang.ClassNotFoundException: com.exmaple.Main", Run: 1,
		Conditions: []*flinkv1.Condition{flinkv1.Condition_builder{Type: "Ready", Status: "False", Reason: "Failed"}.Build()},
	}.Build())

	unheard := proto.CloneOf(runningJob())
	unheard.GetMetadata().SetName("new")
	unheard.GetMetadata().SetCreatedAt(ago(4 * time.Second))
	unheard.SetStatus(flinkv1.JobStatus_builder{State: "Pending", Freshness: "live", Message: "Waiting for the agent of eu-1 to take the order"}.Build())
	return []*flinkv1.Job{runningJob(), stale, failed, unheard}
}

func sampleClusters() []*adminv1.Cluster {
	return []*adminv1.Cluster{
		adminv1.Cluster_builder{
			Name: "eu-1", Uid: "c1", State: "joined", CreatedAt: ago(72 * time.Hour), JoinedAt: ago(71 * time.Hour), Connected: true, LastSeen: ago(2 * time.Second),
			AgentVersion: "v0.1.0", CertificateExpiresAt: ago(-13 * time.Hour), Rows: 3, MemoryTotal: 8 << 30, MemoryUsed: 3 << 29,
			FlinkVersions: []string{"1.20", "2.3"}, Resumes: 2,
		}.Build(),
		adminv1.Cluster_builder{
			Name: "dark", Uid: "c2", State: "joined", LastSeen: ago(50 * time.Hour), AgentVersion: "v0.1.0", CertificateExpiresAt: ago(26 * time.Hour),
			Rows: 1, RowsPending: 1, Message: "Not connected since 2026-03-02T10:00:00Z",
		}.Build(),
		adminv1.Cluster_builder{Name: "new-one", Uid: "c3", State: "invited", Message: "Waiting for its agent to join"}.Build(),
	}
}
