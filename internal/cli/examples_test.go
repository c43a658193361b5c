package cli

import (
	"testing"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/wire"
)

func TestExamplesAreValidAndDifferentJobs(t *testing.T) {
	docs, err := jobForm().Load([]string{"../../docs/examples"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) < 3 {
		t.Fatalf("%d examples, want at least 3", len(docs))
	}
	seen := map[string]string{}
	for _, d := range docs {
		job, _ := wire.JobFromProto(d.Value)
		for _, fault := range flink.Validate(job.Tenant, job.Name, job.Labels, job.Spec) {
			t.Errorf("%s: %s", d.Where(fault.Field), fault)
		}
		if other := seen[job.Name]; other != "" {
			t.Errorf("%s and %s are both %s", other, d.File, job.Name)
		}
		seen[job.Name] = d.File
	}
}
