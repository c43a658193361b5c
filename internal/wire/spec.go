package wire

import (
	"maps"
	"slices"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// SpecToProto writes a spec. Sub-messages without anything to say are left out.
func SpecToProto(s flink.Spec) *flinkv1.JobSpec {
	p := flinkv1.JobSpec_builder{
		Cluster:            s.Cluster,
		State:              s.State,
		FlinkVersion:       s.FlinkVersion,
		Image:              s.Image,
		Parallelism:        s.Parallelism,
		UpgradeMode:        s.UpgradeMode,
		Switch:             s.Switch,
		FlinkConfiguration: maps.Clone(s.FlinkConfiguration),
	}
	if s.Jar.URI != "" || s.Jar.EntryClass != "" || len(s.Jar.Args) > 0 {
		p.Jar = flinkv1.Jar_builder{Uri: s.Jar.URI, EntryClass: s.Jar.EntryClass, Args: slices.Clone(s.Jar.Args)}.Build()
	}
	if s.StateStorage.Root != "" {
		p.StateStorage = flinkv1.StateStorage_builder{Root: s.StateStorage.Root}.Build()
	}
	if s.Checkpointing.Interval != "" {
		p.Checkpointing = flinkv1.Checkpointing_builder{Interval: s.Checkpointing.Interval}.Build()
	}
	if s.JobManager != (flink.Resources{}) {
		p.JobManager = flinkv1.Resources_builder{Cpu: s.JobManager.CPU, Memory: s.JobManager.Memory}.Build()
	}
	if tm := s.TaskManager; tm != (flink.TaskManager{}) {
		p.TaskManager = flinkv1.TaskManager_builder{Cpu: tm.CPU, Memory: tm.Memory, Slots: tm.Slots}.Build()
	}
	if s.StartFrom.Snapshot != "" {
		p.StartFrom = flinkv1.StartFrom_builder{Snapshot: s.StartFrom.Snapshot}.Build()
	}
	return p.Build()
}

// SpecFromProto reads a spec; nil is the empty one. Nothing is defaulted or validated.
func SpecFromProto(p *flinkv1.JobSpec) flink.Spec {
	tm := p.GetTaskManager()
	return flink.Spec{
		Cluster:      p.GetCluster(),
		State:        p.GetState(),
		FlinkVersion: p.GetFlinkVersion(),
		Image:        p.GetImage(),
		Jar: flink.Jar{
			URI:        p.GetJar().GetUri(),
			EntryClass: p.GetJar().GetEntryClass(),
			Args:       list(p.GetJar().GetArgs()),
		},
		Parallelism:   p.GetParallelism(),
		UpgradeMode:   p.GetUpgradeMode(),
		Switch:        p.GetSwitch(),
		StateStorage:  flink.StateStorage{Root: p.GetStateStorage().GetRoot()},
		Checkpointing: flink.Checkpointing{Interval: p.GetCheckpointing().GetInterval()},
		JobManager:    flink.Resources{CPU: p.GetJobManager().GetCpu(), Memory: p.GetJobManager().GetMemory()},
		TaskManager: flink.TaskManager{
			Resources: flink.Resources{CPU: tm.GetCpu(), Memory: tm.GetMemory()},
			Slots:     tm.GetSlots(),
		},
		FlinkConfiguration: table(p.GetFlinkConfiguration()),
		StartFrom:          flink.StartFrom{Snapshot: p.GetStartFrom().GetSnapshot()},
	}
}

// list and table make nothing and empty alike, as the wire does.
func list(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

func table(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
