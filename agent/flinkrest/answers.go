package flinkrest

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// The answers of REST, as far as decisions need them. Fields that are not named
// here, such as kilobytes of serialized throwables, are never kept.

type overviewAnswer struct {
	TaskManagers int32  `json:"taskmanagers"`
	SlotsTotal   int32  `json:"slots-total"`
	SlotsFree    int32  `json:"slots-available"`
	Version      string `json:"flink-version"`
}

type jobsAnswer struct {
	Jobs []jobAnswer `json:"jobs"`
}

type jobAnswer struct {
	ID        string           `json:"jid"`
	Name      string           `json:"name"`
	State     string           `json:"state"`
	StartTime int64            `json:"start-time"`
	Tasks     map[string]int32 `json:"tasks"`
}

func (a jobAnswer) observed() *flink.JobObserved {
	return &flink.JobObserved{
		ID: a.ID, Name: failure.OneLine(a.Name), State: a.State, StartTime: millis(a.StartTime),
		TasksRunning: a.Tasks["running"] + a.Tasks["finished"], TasksTotal: a.Tasks["total"],
	}
}

type verticesAnswer struct {
	Vertices []struct {
		Parallelism int32 `json:"parallelism"`
	} `json:"vertices"`
}

func (a verticesAnswer) parallelism() int32 {
	var p int32
	for _, v := range a.Vertices {
		p = max(p, v.Parallelism)
	}
	return p
}

// requirementsAnswer is by vertex.
type requirementsAnswer map[string]struct {
	Parallelism struct {
		Upper int32 `json:"upperBound"`
	} `json:"parallelism"`
}

func (a requirementsAnswer) parallelism() int32 {
	var p int32
	for _, v := range a {
		p = max(p, v.Parallelism.Upper)
	}
	return p
}

type checkpointsAnswer struct {
	Counts struct {
		Completed int64 `json:"completed"`
	} `json:"counts"`
	Latest struct {
		Completed *checkpointAnswer `json:"completed"`
		Savepoint *checkpointAnswer `json:"savepoint"`
		Restored  *struct {
			ID          int64  `json:"id"`
			At          int64  `json:"restore_timestamp"`
			IsSavepoint bool   `json:"is_savepoint"`
			Path        string `json:"external_path"`
		} `json:"restored"`
	} `json:"latest"`
}

type checkpointAnswer struct {
	ID          int64  `json:"id"`
	IsSavepoint bool   `json:"is_savepoint"`
	AckedAt     int64  `json:"latest_ack_timestamp"`
	Path        string `json:"external_path"`
	Discarded   bool   `json:"discarded"`
}

// snapshot is the checkpoint as something to start from; ok is false when it is
// gone, or lies nowhere that can be named.
func (a *checkpointAnswer) snapshot() (flink.Snapshot, bool) {
	if a == nil || a.Discarded || !strings.Contains(a.Path, "/") || strings.HasPrefix(a.Path, "<") {
		return flink.Snapshot{}, false
	}
	s := flink.Snapshot{
		Path: flink.NormalizePath(a.Path), Kind: flink.KindCheckpoint, ID: a.ID, CompletedAt: millis(a.AckedAt),
	}
	if a.IsSavepoint {
		s.Kind, s.ID = flink.KindSavepoint, 0
	}
	return s, true
}

// latest is the newest of checkpoint and savepoint; both draw their ids from one counter.
func (a checkpointsAnswer) latest() flink.Snapshot {
	c, haveC := a.Latest.Completed.snapshot()
	s, haveS := a.Latest.Savepoint.snapshot()
	if haveS && (!haveC || a.Latest.Savepoint.ID > a.Latest.Completed.ID) {
		return s
	}
	return c
}

func (a checkpointsAnswer) restored() *flink.Restored {
	r := a.Latest.Restored
	if r == nil {
		return nil
	}
	return &flink.Restored{Path: flink.NormalizePath(r.Path), ID: r.ID, IsSavepoint: r.IsSavepoint, At: millis(r.At)}
}

type metricsAnswer []struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// count reads a counter. Metrics may be missing, late, NaN or negative: then it is 0.
func (a metricsAnswer) count(id string) int32 {
	for _, m := range a {
		if m.ID != id {
			continue
		}
		if f, err := strconv.ParseFloat(m.Value, 64); err == nil && f > 0 && f < 1<<31 {
			return int32(f)
		}
	}
	return 0
}

type exceptionsAnswer struct {
	Root    string `json:"root-exception"` // 1.20 only; the one place where it shows failures of a restore
	RootAt  int64  `json:"timestamp"`
	History struct {
		Entries []struct {
			Name  string `json:"exceptionName"`
			Stack string `json:"stacktrace"`
			At    int64  `json:"timestamp"`
		} `json:"entries"`
	} `json:"exceptionHistory"`
}

// newest is the newest exception, nil when there is none.
func (a exceptionsAnswer) newest() *flink.Cause {
	var best *flink.Cause
	for _, e := range a.History.Entries {
		at := millis(e.At)
		if best != nil && !at.After(best.At) {
			continue
		}
		c := cause(e.Name, e.Stack)
		c.At = at
		best = &c
	}
	if best == nil && a.Root != "" {
		c := cause("", a.Root)
		c.At = millis(a.RootAt)
		best = &c
	}
	return best
}

type failureAnswer struct {
	Class string `json:"class"`
	Stack string `json:"stack-trace"`
}

type resultAnswer struct {
	Result *struct {
		Failure *failureAnswer `json:"failure-cause"`
	} `json:"job-execution-result"`
}

type triggerAnswer struct {
	Status struct {
		ID string `json:"id"`
	} `json:"status"`
	Operation *struct {
		Location string         `json:"location"`
		Failure  *failureAnswer `json:"failure-cause"`
	} `json:"operation"`
}

// savepointInText finds the path that a stop names when its savepoint was
// written and its job failed afterwards.
var savepointInText = regexp.MustCompile(`[Ss]avepoint has been created at:? *(\S+?)[,.]?(\s|$)`)

// trigger is the state of an asynchronous operation. COMPLETED is also said of
// one that failed: the failure tells, and it may name a savepoint all the same.
func (a triggerAnswer) trigger(id string) *flink.Trigger {
	t := &flink.Trigger{ID: id, Completed: a.Status.ID == "COMPLETED"}
	if a.Operation == nil {
		return t
	}
	if a.Operation.Location != "" {
		t.Location = flink.NormalizePath(a.Operation.Location)
	}
	if f := a.Operation.Failure; f != nil {
		c := cause(f.Class, f.Stack)
		t.Failure = &c
		if m := savepointInText.FindStringSubmatch(f.Stack); m != nil && strings.Contains(f.Stack, "StopWithSavepointStoppingException") {
			t.Location = flink.NormalizePath(m[1])
		}
	}
	return t
}

// cause is the innermost cause of a stack text; class is what stands beside the text, should that say nothing.
func cause(class, stack string) flink.Cause {
	c := failure.Innermost(failure.Parse(stack))
	if c.Class == "" && c.Message == "" {
		c.Class = failure.OneLine(class)
	}
	return c
}

// millis turns Flink's milliseconds into a time; "none" is 0 or -1 there.
func millis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
