package admin

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/wire"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

const (
	defaultPage = 100
	maxPage     = 500
	tokenPrefix = "1:" // form of page tokens
)

// ApplyJob implements JobService.
func (s *service) ApplyJob(ctx context.Context, req *adminv1.ApplyJobRequest) (*adminv1.ApplyJobResponse, error) {
	if faults := checkManifest(req.GetJob()); len(faults) > 0 {
		return nil, Refusal{Kind: Invalid, Text: summary(faults), Faults: faults}
	}
	want, expect := wire.JobFromProto(req.GetJob())
	job, result, err := s.cfg.Apply(ctx, whoIs(ctx), want, expect)
	if err != nil {
		return nil, err
	}

	return adminv1.ApplyJobResponse_builder{Job: s.show(job), Result: result}.Build(), nil
}

// checkManifest is what only the outer form can tell; the rest is for Apply.
func checkManifest(job *flinkv1.Job) []flink.Fault {
	if job == nil {
		return []flink.Fault{{Field: "job", Remedy: "send the manifest of a job"}}
	}
	var faults []flink.Fault
	if v := job.GetApiVersion(); v != "" && v != wire.APIVersion {
		faults = append(faults, flink.Fault{Field: "apiVersion", Value: v, Remedy: "use " + wire.APIVersion})
	}
	if k := job.GetKind(); k != "" && k != wire.KindJob {
		faults = append(faults, flink.Fault{Field: "kind", Value: k, Remedy: "use " + wire.KindJob})
	}
	if n := proto.Size(job.GetSpec()); n > flink.MaxSpecBytes {
		faults = append(faults, flink.Fault{
			Field: "spec", Value: strconv.Itoa(n) + " bytes", Remedy: fmt.Sprintf("at most %d bytes", flink.MaxSpecBytes),
		})
	}

	return faults
}

func summary(faults []flink.Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}

	return strings.Join(lines, "; ")
}

// GetJob implements JobService.
func (s *service) GetJob(_ context.Context, req *adminv1.GetJobRequest) (*adminv1.GetJobResponse, error) {
	view := s.cfg.Store.View()
	tenant, err := tenantOf(&view, req.GetTenant())
	if err != nil {
		return nil, err
	}
	job, ok := view.JobByName(tenant, req.GetName())
	if !ok {
		return nil, s.noJob(tenant, req.GetName())
	}

	return adminv1.GetJobResponse_builder{Job: s.showAt(&view, job)}.Build(), nil
}

// ListJobs implements JobService: by name, a page at a time. The pages are of the moments they are asked for.
func (s *service) ListJobs(_ context.Context, req *adminv1.ListJobsRequest) (*adminv1.ListJobsResponse, error) {
	view := s.cfg.Store.View()
	tenant, err := tenantOf(&view, req.GetTenant())
	if err != nil {
		return nil, err
	}
	after, err := readPageToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	switch {
	case size < 0:
		return nil, Refusal{Kind: Invalid, Text: "page_size must not be negative"}
	case size == 0:
		size = defaultPage
	}
	size = min(size, maxPage)
	var jobs []store.Job // one more than a page, to know whether there is a next one
	if name := req.GetCluster(); name == "" {
		jobs = view.Jobs(tenant, after, size+1)
	} else if jobs, err = s.jobsOf(&view, tenant, name, after, size+1); err != nil {
		return nil, err
	}
	var resp adminv1.ListJobsResponse_builder
	if len(jobs) > size {
		jobs = jobs[:size]
		resp.NextPageToken = pageToken(jobs[size-1].Name)
	}
	for _, j := range jobs {
		resp.Items = append(resp.Items, s.showAt(&view, j))
	}

	return resp.Build(), nil
}

// jobsOf are the jobs of a cluster in the order and form of View.Jobs.
func (s *service) jobsOf(view *store.View, tenant, cluster, after string, limit int) ([]store.Job, error) {
	c, ok := view.ClusterByName(cluster)
	if !ok {
		return nil, noCluster(view, cluster)
	}
	var jobs []store.Job
	for _, uid := range view.JobsOf(c.UID) {
		if j, ok := view.Job(uid); ok && j.Tenant == tenant && j.Name > after {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b store.Job) int { return strings.Compare(a.Name, b.Name) })

	return jobs[:min(len(jobs), limit)], nil
}

// DeleteJob implements JobService.
func (s *service) DeleteJob(ctx context.Context, req *adminv1.DeleteJobRequest) (*adminv1.DeleteJobResponse, error) {
	policy := flink.DeletePolicy(req.GetPolicy())
	switch policy {
	case "", flink.DeleteSavepoint, flink.DeleteCancel, flink.DeleteOrphan:
	default:
		return nil, Refusal{Kind: Invalid, Text: fmt.Sprintf("policy %q: use savepoint, cancel or orphan", policy)}
	}
	var expect *int32
	if req.HasGeneration() {
		expect = new(req.GetGeneration())
	}
	tenant := orDefault(req.GetTenant())
	job, err := s.cfg.Delete(ctx, whoIs(ctx), tenant, req.GetName(), policy, expect)
	if err != nil {
		return nil, s.withNear(err, tenant, req.GetName())
	}

	return adminv1.DeleteJobResponse_builder{Job: s.show(job)}.Build(), nil
}

// RestartJob implements JobService.
func (s *service) RestartJob(ctx context.Context, req *adminv1.RestartJobRequest) (*adminv1.RestartJobResponse, error) {
	tenant := orDefault(req.GetTenant())
	job, err := s.cfg.Restart(ctx, whoIs(ctx), tenant, req.GetName(), req.GetFrom())
	if err != nil {
		return nil, s.withNear(err, tenant, req.GetName())
	}

	return adminv1.RestartJobResponse_builder{Job: s.show(job)}.Build(), nil
}

// withNear adds to a job that was not found the name that was probably meant.
func (s *service) withNear(err error, tenant, name string) error {
	if s.wireError(err).Code() != codeNotFound {
		return err
	}

	return s.noJob(tenant, name)
}

func (s *service) noJob(tenant, name string) error {
	view := s.cfg.Store.View()
	var known []string
	for _, j := range view.Jobs(tenant, "", maxPage) {
		known = append(known, j.Name)
	}

	return notFound("job", name, known)
}

func tenantOf(view *store.View, name string) (string, error) {
	name = orDefault(name)
	if _, ok := view.Tenant(name); !ok {
		var known []string
		for _, t := range view.Tenants() {
			known = append(known, t.Name)
		}

		return "", notFound("tenant", name, known)
	}

	return name, nil
}

func orDefault(tenant string) string {
	if tenant == "" {
		return flink.DefaultTenant
	}

	return tenant
}

func pageToken(lastName string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + lastName))
}

func readPageToken(token string) (afterName string, err error) {
	if token == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(text), tokenPrefix)
	if err != nil || !ok {
		return "", Refusal{Kind: Invalid, Text: "page_token is not one that this hub gave"}
	}

	return after, nil
}
