package flink

import (
	"slices"
	"time"
)

// DefaultCheckpointInterval is how often a job takes a checkpoint unless its spec says otherwise.
const DefaultCheckpointInterval = 10 * time.Second

// DefaultTenant is the tenant of a job that names none.
const DefaultTenant = "default"

// What a process gets unless its spec says otherwise.
const (
	defaultCPU    = "0.5"
	defaultMemory = "512Mi"
)

// Least declared memory in bytes with which a process starts at all: heap,
// metaspace and code of an empty JobManager or TaskManager.
const (
	MinJobManagerMemory  = 320 << 20
	MinTaskManagerMemory = 256 << 20
)

// FlinkVersions are the values that spec.flinkVersion may have, oldest first.
func FlinkVersions() []string { return slices.Clone(flinkVersions) }

var flinkVersions = []string{"1.20", "2.3"}

// Default fills in what a spec leaves open and changes nothing that it says.
// Default(Default(s)) equals Default(s).
func Default(s Spec) Spec {
	s = s.Clone()
	fill(&s.State, StateRunning)
	fill(&s.Parallelism, 1)
	fill(&s.UpgradeMode, UpgradeSavepoint)
	fill(&s.Switch, SwitchWarm)
	fill(&s.Checkpointing.Interval, DefaultCheckpointInterval.String())
	fill(&s.JobManager.CPU, defaultCPU)
	fill(&s.JobManager.Memory, defaultMemory)
	fill(&s.TaskManager.CPU, defaultCPU)
	fill(&s.TaskManager.Memory, defaultMemory)
	fill(&s.TaskManager.Slots, 1)
	return s
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
