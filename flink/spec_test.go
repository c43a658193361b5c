package flink_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// TestSpecEqualSeesEveryField changes one field after the other: an edit of a
// field that SpecEqual forgot would never be carried out.
func TestSpecEqualSeesEveryField(t *testing.T) {
	var s flink.Spec
	s.FlinkConfiguration = nil
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Type.Kind() == reflect.Map {
			continue
		}
		touch(t, v.Field(i), "Spec."+v.Type().Field(i).Name, func(path string) {
			if flink.SpecEqual(s, flink.Spec{}) || flink.SpecEqual(flink.Spec{}, s) {
				t.Errorf("%s differs, and SpecEqual does not see it", path)
			}
		})
	}
	if flink.SpecEqual(flink.Spec{FlinkConfiguration: map[string]string{"a": "1"}}, flink.Spec{FlinkConfiguration: map[string]string{"a": "2"}}) {
		t.Error("flinkConfiguration differs, and SpecEqual does not see it")
	}
	empty := flink.Spec{FlinkConfiguration: map[string]string{}, Jar: flink.Jar{Args: []string{}}}
	if !flink.SpecEqual(empty, flink.Spec{}) {
		t.Error("an empty list or map differs from none")
	}
}

func TestACloneSharesNothing(t *testing.T) {
	s := flink.Spec{Jar: flink.Jar{Args: []string{"a"}}, FlinkConfiguration: map[string]string{"k": "v"}}
	c := s.Clone()
	c.Jar.Args[0], c.FlinkConfiguration["k"] = "b", "w"
	if s.Jar.Args[0] != "a" || s.FlinkConfiguration["k"] != "v" {
		t.Errorf("a change of the clone changed %+v", s)
	}
}

func TestTaskManagersAreEnoughForTheParallelism(t *testing.T) {
	for _, c := range []struct{ parallelism, slots, want int32 }{
		{0, 0, 1}, {1, 1, 1}, {2, 1, 2}, {2, 2, 1}, {3, 2, 2}, {4, 2, 2}, {5, 4, 2}, {-1, -1, 1},
	} {
		s := flink.Spec{Parallelism: c.parallelism, TaskManager: flink.TaskManager{Slots: c.slots}}
		if got := s.TaskManagers(); got != c.want {
			t.Errorf("parallelism %d with %d slots each: %d TaskManagers, want %d", c.parallelism, c.slots, got, c.want)
		}
	}
}

func TestDeclaredMemoryIsThatOfAllProcesses(t *testing.T) {
	s := flink.Spec{
		Parallelism: 3, JobManager: flink.Resources{Memory: "1Gi"},
		TaskManager: flink.TaskManager{Resources: flink.Resources{Memory: "512Mi"}, Slots: 2},
	}
	if got := s.MemoryBytes(); got != 2<<30 {
		t.Errorf("%d", got)
	}
}

func TestTheCheckpointIntervalHasADefault(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "": flink.DefaultCheckpointInterval, "soon": flink.DefaultCheckpointInterval, "-1s": flink.DefaultCheckpointInterval,
	} {
		if got := (flink.Spec{Checkpointing: flink.Checkpointing{Interval: text}}).CheckpointInterval(); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestAnOrderIsAFunctionOfJobAndAssignment(t *testing.T) {
	j := flink.Job{
		UID: "u", Tenant: "default", Name: "clicks", Labels: map[string]string{"team": "web"}, Generation: 3, Restart: 2,
		Spec: flink.Spec{Jar: flink.Jar{Args: []string{"a"}}}, Deleting: true, Policy: flink.DeleteCancel,
	}
	o := flink.OrderFor(j, flink.Assignment{JobUID: "u", ClusterUID: "c", Term: 4})
	want := flink.Order{
		UID: "u", Tenant: "default", Name: "clicks", Labels: map[string]string{"team": "web"}, Generation: 3, Restart: 2, Term: 4,
		Spec: flink.Spec{Jar: flink.Jar{Args: []string{"a"}}}, Deleted: true, Policy: flink.DeleteCancel,
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v", o)
	}
	o.Labels["team"], o.Spec.Jar.Args[0] = "x", "x"
	if j.Labels["team"] != "web" || j.Spec.Jar.Args[0] != "a" {
		t.Error("the order shares what the job holds")
	}
}

func TestAProcessThatCannotBeSeenCounts(t *testing.T) {
	unknown, exited := flink.Process{State: flink.ProcessUnknown}, flink.Process{State: flink.ProcessExited}
	r := flink.RunObserved{JobManager: exited, TaskManagers: []flink.Process{exited, unknown}}
	if !r.Alive() || r.TaskManagersAlive() != 1 {
		t.Errorf("alive %v, %d TaskManagers", r.Alive(), r.TaskManagersAlive())
	}
	if (flink.RunObserved{JobManager: exited, TaskManagers: []flink.Process{exited, {}}}).Alive() {
		t.Error("a run without a living process is alive")
	}
}

func TestRoom(t *testing.T) {
	if got := (flink.Room{MemoryTotal: 10, MemoryUsed: 12}).Free(); got != -2 {
		t.Errorf("overfull: %d", got)
	}
	if got := (flink.Room{MemoryUsed: 12}).Free(); got < 1<<50 {
		t.Errorf("unlimited: %d", got)
	}
}

func TestAJobRunsWhenAllOfItsTasksDo(t *testing.T) {
	for _, c := range []struct {
		state          string
		running, total int32
		all, terminal  bool
	}{
		{flink.JobRunning, 3, 3, true, false},
		{flink.JobRunning, 2, 3, false, false},
		{flink.JobRunning, 0, 0, false, false}, // tasks are not listed yet
		{flink.JobCreated, 3, 3, false, false},
		{flink.JobFinished, 3, 3, false, true},
		{flink.JobFailed, 0, 3, false, true},
		{flink.JobCanceled, 0, 3, false, true},
		{flink.JobSuspended, 0, 3, false, false}, // of this JobManager only, not for good
	} {
		j := flink.JobObserved{State: c.state, TasksRunning: c.running, TasksTotal: c.total}
		if j.AllRunning() != c.all || flink.JobTerminal(c.state) != c.terminal {
			t.Errorf("%s %d/%d: all running %v, terminal %v", c.state, c.running, c.total, j.AllRunning(), flink.JobTerminal(c.state))
		}
	}
}

func TestARefusalSaysWhyAndWhetherToAskAgain(t *testing.T) {
	for kind, permanent := range map[flink.RefusalKind]bool{
		flink.RefusedNoRoom: false, flink.RefusedTransient: false, flink.RefusedJar: true, flink.RefusedProgram: true, flink.RefusedVersion: true,
	} {
		r := &flink.Refusal{Kind: kind, Cause: flink.Cause{Class: "a.B", Message: "no"}}
		if r.Permanent() != permanent || r.Error() != string(kind)+": a.B: no" {
			t.Errorf("%s: permanent %v, %q", kind, r.Permanent(), r)
		}
	}
	for want, c := range map[string]*flink.Cause{"": nil, "a.B": {Class: "a.B"}, "no": {Message: "no"}} {
		if c.String() != want {
			t.Errorf("%+v: %q", c, c.String())
		}
	}
}
