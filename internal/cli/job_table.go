package cli

import (
	"fmt"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

const freshnessLive = "live"

func (a *app) jobTable(jobs []*flinkv1.Job, wide bool) *table {
	header := []string{"NAME", "STATE", "READY", "CLUSTER", "TASKS", "SNAPSHOT-AGE", "RUN", "AGE"}
	if wide {
		header = append(header, "SITUATION", "VERSION", "ASOF", "MESSAGE")
	}
	t := newTable(header...)
	for _, j := range jobs {
		t.add(a.jobRow(j, wide)...)
	}
	return t
}

func (a *app) jobRow(j *flinkv1.Job, wide bool) []cell {
	s := j.GetStatus()
	row := []cell{
		plain(j.GetMetadata().GetName()), stateCell(s), readyCell(j), plain(orElse(s.GetCluster(), j.GetSpec().GetCluster())), plain(tasks(s)),
		aging(age(a.now(), s.GetSnapshot().GetCompletedAt())), plain(runName(s)), aging(age(a.now(), j.GetMetadata().GetCreatedAt())),
	}
	if wide {
		row = append(row, plain(situation(s)), plain(orElse(s.GetFlink().GetVersion(), j.GetSpec().GetFlinkVersion())),
			aging(age(a.now(), s.GetAsOf())), plain(sentence(s)))
	}
	return row
}

func aging(s string) cell { return cell{text: s, ages: true} }

// stateCell is the state, with how fresh it is when that is not now. Only what
// is known to be well now is green.
func stateCell(s *flinkv1.JobStatus) cell {
	state := orElse(s.GetState(), string(flink.Unknown))
	live := s.GetFreshness() == freshnessLive
	c := cell{text: state, colour: yellow}
	if !live {
		c.text = fmt.Sprintf("%s (%s)", state, orElse(s.GetFreshness(), "unknown"))
	}
	switch state := flink.JobState(state); {
	case state == flink.Failed:
		c.colour = red
	case live && (state == flink.Running || state == flink.Finished):
		c.colour = green
	}
	return c
}

func readyCell(j *flinkv1.Job) cell {
	c := condition(j.GetStatus(), flink.ConditionReady)
	out := cell{text: orElse(c.GetStatus(), flink.UnknownStatus), colour: yellow}
	switch {
	case isReady(j):
		out.colour = green
	case out.text == flink.True: // said of an older spec, or not known to be so any more
		out.text = flink.False
		if j.GetStatus().GetFreshness() != freshnessLive {
			out.text = flink.UnknownStatus
		}
	}
	return out
}

// isReady reports whether a job is known, now, to run what it was last asked to.
func isReady(j *flinkv1.Job) bool {
	s := j.GetStatus()
	return condition(s, flink.ConditionReady).GetStatus() == flink.True && s.GetFreshness() == freshnessLive &&
		s.GetObservedGeneration() == j.GetMetadata().GetGeneration()
}

func condition(s *flinkv1.JobStatus, typ string) *flinkv1.Condition {
	for _, c := range s.GetConditions() {
		if c.GetType() == typ {
			return c
		}
	}
	return nil
}

func tasks(s *flinkv1.JobStatus) string {
	if s.GetFlink().GetTasksTotal() == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.GetFlink().GetTasksRunning(), s.GetFlink().GetTasksTotal())
}

func runName(s *flinkv1.JobStatus) string {
	if s.GetRun() == 0 {
		return ""
	}
	return flink.Run{Term: s.GetTerm(), Run: s.GetRun()}.String()
}

// sentence is the one sentence about a job; a refusal by its agent comes first.
func sentence(s *flinkv1.JobStatus) string {
	if n := s.GetNack(); n != nil {
		return fmt.Sprintf("The agent refuses the newest order: %s (%s)", n.GetText(), n.GetCode())
	}
	return s.GetMessage()
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
