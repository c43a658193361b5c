package store

import (
	_ "embed"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:embed flinkjob-crd.yaml
var crd []byte

// CRD is the CustomResourceDefinition of FlinkJob in YAML, as the chart installs it.
func CRD() []byte { return slices.Clone(crd) }

// HoldAnnotation on a FlinkJob keeps the agent from changing anything of the job. Its value is the reason.
const HoldAnnotation = "waterwheel.dev/hold"

// Names of a FlinkJob in the API.
const (
	group   = "agent.waterwheel.dev"
	version = "v1"
	kind    = "FlinkJob"
	plural  = "flinkjobs"

	manager = "waterwheel-agent" // field manager of every write
)

func resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: plural}
}
