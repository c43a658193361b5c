package wire

import (
	"maps"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// What every manifest of a job begins with.
const (
	APIVersion = "waterwheel.dev/v1"
	KindJob    = "Job"
)

// JobToProto writes a job as people see it. The revision is the store's opaque
// token, deletedAt is zero unless a tombstone stands, status may be nil.
func JobToProto(j flink.Job, revision string, deletedAt time.Time, status *flinkv1.JobStatus) *flinkv1.Job {
	return flinkv1.Job_builder{
		ApiVersion: APIVersion,
		Kind:       KindJob,
		Metadata: flinkv1.Metadata_builder{
			Name:       j.Name,
			Tenant:     j.Tenant,
			Labels:     maps.Clone(j.Labels),
			Uid:        j.UID,
			Generation: new(j.Generation),
			Revision:   revision,
			CreatedAt:  stamp(j.CreatedAt),
			DeletedAt:  stamp(deletedAt),
		}.Build(),
		Spec:   SpecToProto(j.Spec),
		Status: status,
	}.Build()
}

// JobFromProto reads what a caller asks for: tenant (flink.DefaultTenant when
// empty), name, labels and spec. Expect is the generation that the caller saw,
// nil when it has no expectation. All else in p is Waterwheel's and is not read.
func JobFromProto(p *flinkv1.Job) (job flink.Job, expect *int32) {
	m := p.GetMetadata()
	job = flink.Job{
		Tenant: m.GetTenant(),
		Name:   m.GetName(),
		Labels: table(m.GetLabels()),
		Spec:   SpecFromProto(p.GetSpec()),
	}
	if job.Tenant == "" {
		job.Tenant = flink.DefaultTenant
	}
	if m.HasGeneration() {
		expect = new(m.GetGeneration())
	}
	return job, expect
}
