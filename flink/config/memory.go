package config

import (
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
)

// mib is the unit of every size that Flink and the JVM are told.
const mib = int64(1) << 20

// JobManagerMemory divides the declared memory of a JobManager, in MiB.
type JobManagerMemory struct {
	Heap      int64
	Direct    int64
	Metaspace int64
	Overhead  int64 // threads, code, the collector; not set anywhere, only left free
}

// Sum is the whole, in MiB.
func (m JobManagerMemory) Sum() int64 { return m.Heap + m.Direct + m.Metaspace + m.Overhead }

// TaskManagerMemory divides the declared memory of a TaskManager, in MiB.
type TaskManagerMemory struct {
	TaskHeap         int64
	FrameworkHeap    int64
	FrameworkOffHeap int64
	Network          int64
	Managed          int64
	Metaspace        int64
	Overhead         int64
}

// Sum is the whole, in MiB.
func (m TaskManagerMemory) Sum() int64 {
	return m.TaskHeap + m.FrameworkHeap + m.FrameworkOffHeap + m.Network + m.Managed + m.Metaspace + m.Overhead
}

// DivideJobManager divides declared bytes; what is left over goes to the heap.
// main() runs in this process, twice (check and start), each time with its own
// class loader: hence the generous metaspace.
func DivideJobManager(declared int64) (JobManagerMemory, error) {
	if declared < flink.MinJobManagerMemory {
		return JobManagerMemory{}, tooSmall("spec.jobManager.memory", declared, flink.MinJobManagerMemory)
	}
	total := declared / mib
	m := JobManagerMemory{
		Direct:    clamp(total/10, 48, 128),
		Metaspace: clamp(total/4, 128, 384),
		Overhead:  clamp(total/10, 64, 1024),
	}
	m.Heap = total - m.Sum()
	return m, nil
}

// DivideTaskManager divides declared bytes; what is left over goes to the
// program's heap. managed says that the state backend keeps its state in
// managed memory, outside the heap, and needs a real share of it.
func DivideTaskManager(declared int64, managed bool) (TaskManagerMemory, error) {
	if declared < flink.MinTaskManagerMemory {
		return TaskManagerMemory{}, tooSmall("spec.taskManager.memory", declared, flink.MinTaskManagerMemory)
	}
	total := declared / mib
	m := TaskManagerMemory{
		FrameworkHeap:    clamp(total/16, 16, 128),
		FrameworkOffHeap: clamp(total/10, 24, 128),
		Network:          clamp(total/12, 16, 1024),
		Managed:          clamp(total/20, 8, 256),
		Metaspace:        clamp(total/5, 88, 256),
		Overhead:         clamp(total/10, 40, 1024),
	}
	if managed {
		m.Managed = total * 3 / 10
	}
	m.TaskHeap = total - m.Sum()
	if m.TaskHeap < 32 {
		return TaskManagerMemory{}, tooSmall("spec.taskManager.memory", declared, declared+(32-m.TaskHeap)*mib)
	}
	return m, nil
}

func clamp(v, lo, hi int64) int64 { return min(max(v, lo), hi) }

func tooSmall(field string, declared, least int64) error {
	return fmt.Errorf("%s is %d MiB: Flink itself needs at least %d MiB", field, declared/mib, (least+mib-1)/mib)
}

// memoryOf reads a declared quantity of a spec.
func memoryOf(field, quantity string) (int64, error) {
	n, err := flink.ParseMemory(quantity)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	return n, nil
}
