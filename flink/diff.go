package flink

import (
	"maps"
	"slices"
	"strconv"
)

// Diff names the fields that differ between two specs, as paths of the manifest
// such as spec.parallelism, in the order of the manifest. Entries of
// flinkConfiguration are named one by one. Nothing means equal; an empty list
// and none are the same.
func Diff(before, after Spec) []string {
	var d diff
	add(&d, "spec.cluster", before.Cluster, after.Cluster)
	add(&d, "spec.state", before.State, after.State)
	add(&d, "spec.flinkVersion", before.FlinkVersion, after.FlinkVersion)
	add(&d, "spec.image", before.Image, after.Image)
	add(&d, "spec.jar.uri", before.Jar.URI, after.Jar.URI)
	add(&d, "spec.jar.entryClass", before.Jar.EntryClass, after.Jar.EntryClass)
	if !slices.Equal(before.Jar.Args, after.Jar.Args) {
		d = append(d, "spec.jar.args")
	}
	add(&d, "spec.parallelism", before.Parallelism, after.Parallelism)
	add(&d, "spec.upgradeMode", before.UpgradeMode, after.UpgradeMode)
	add(&d, "spec.stateStorage.root", before.StateStorage.Root, after.StateStorage.Root)
	add(&d, "spec.checkpointing.interval", before.Checkpointing.Interval, after.Checkpointing.Interval)
	add(&d, "spec.jobManager.cpu", before.JobManager.CPU, after.JobManager.CPU)
	add(&d, "spec.jobManager.memory", before.JobManager.Memory, after.JobManager.Memory)
	add(&d, "spec.taskManager.cpu", before.TaskManager.CPU, after.TaskManager.CPU)
	add(&d, "spec.taskManager.memory", before.TaskManager.Memory, after.TaskManager.Memory)
	add(&d, "spec.taskManager.slots", before.TaskManager.Slots, after.TaskManager.Slots)
	d = append(d, diffConfiguration(before.FlinkConfiguration, after.FlinkConfiguration)...)
	add(&d, "spec.startFrom.snapshot", before.StartFrom.Snapshot, after.StartFrom.Snapshot)
	add(&d, "spec.switch", before.Switch, after.Switch)
	return d
}

type diff []string

func add[T comparable](d *diff, path string, before, after T) {
	if before != after {
		*d = append(*d, path)
	}
}

func diffConfiguration(before, after map[string]string) []string {
	keys := slices.Collect(maps.Keys(before))
	for k := range after {
		if _, ok := before[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []string
	for _, k := range keys {
		was, ok1 := before[k]
		is, ok2 := after[k]
		if was != is || ok1 != ok2 {
			out = append(out, configurationField(k))
		}
	}
	return out
}

func configurationField(key string) string {
	return "spec.flinkConfiguration[" + strconv.Quote(key) + "]"
}
