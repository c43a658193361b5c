package flinkrest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	plan = "POST /jars/job.jar/plan"
	run  = "POST /jars/job.jar/run"
	rest = "org.apache.flink.runtime.rest.handler.RestHandlerException: Could not execute application.\n\tat a.B.c(D.java:1)\n"
	prog = "Caused by: org.apache.flink.client.program.ProgramInvocationException: "
)

// refusals are the answers of real JobManagers to each mistake of a program, and what the refusal must say.
var refusals = []struct {
	recording string
	kind      flink.RefusalKind
	class, in string
}{
	{"jars-plan-wrong-class", flink.RefusedProgram, "org.apache.flink.client.program.ProgramInvocationException", "entry point class 'com.example.Missing'"},
	{"jars-plan-fail-main", flink.RefusedProgram, "java.lang.IllegalStateException", "main fails as it was told to"},
	{"jars-plan-no-job", flink.RefusedProgram, "org.apache.flink.client.program.ProgramInvocationException", "doesn't call `env.execute()`"},
	{"jars-plan-missing-jar", flink.RefusedJar, "", "/flink/upload/flink-web-upload/nojar.jar does not exist"},
	{"jars-run-wrong-class", flink.RefusedProgram, "org.apache.flink.client.program.ProgramInvocationException", "entry point class 'com.example.Missing'"},
	{"jars-run-fail-main", flink.RefusedProgram, "java.lang.IllegalStateException", "main fails as it was told to"},
	{"jars-run-no-job", flink.RefusedProgram, "", "No jobs included in application"},
	{"jars-run-missing-jar", flink.RefusedJar, "", "/flink/upload/flink-web-upload/nojar.jar does not exist"},
	{"jars-run-two-jobs", flink.RefusedProgram, "org.apache.flink.util.FlinkRuntimeException", "Cannot have more than"},
}

func TestADefiniteNoIsARefusalWithTheCauseThatTellsMost(t *testing.T) { // §12 preflight and run
	for _, version := range versions {
		for _, tt := range refusals {
			w := newWorld(t, version)
			var err error
			if strings.HasPrefix(tt.recording, "jars-plan") {
				w.recorded(tt.recording, plan)
				err = client().Plan(t.Context(), w.URL, flink.Program{EntryClass: "X"})
			} else {
				w.recorded(tt.recording, run)
				err = client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1})
			}
			r, ok := errors.AsType[*flink.Refusal](err)
			if !ok {
				t.Errorf("%s %s: got %v", version, tt.recording, err)
				continue
			}
			if r.Kind != tt.kind || !r.Permanent() || !strings.Contains(r.Cause.Message, tt.in) || tt.class != "" && r.Cause.Class != tt.class {
				t.Errorf("%s %s: got %s %+v", version, tt.recording, r.Kind, r.Cause)
			}
			if strings.Contains(r.Cause.Message, "\n") || strings.Contains(r.Cause.Message, "System.out") {
				t.Errorf("%s %s: the cause is more than one line: %q", version, tt.recording, r.Cause.Message)
			}
		}
	}
}

func TestAProgramThatNeedsItsResultIsRefused(t *testing.T) {
	const text = "Job was submitted in detached mode. Results of job execution, such as accumulators, runtime, etc. are not available."
	w := newWorld(t, "2.3.0").says(run, 400, errorsBody(rest+prog+"The main method caused an error: "+text+
		"\n\tat a.B.c(D.java:1)\nCaused by: org.apache.flink.api.common.InvalidProgramException: "+text+"\n\t... 3 more\n"))
	err := client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1})
	if r, ok := errors.AsType[*flink.Refusal](err); !ok || r.Kind != flink.RefusedProgram {
		t.Errorf("got %v", err)
	}
}

func TestWhatMayPassIsNoRefusal(t *testing.T) {
	down := newWorld(t, "2.3.0")
	down.Close()
	worlds := map[string]*world{
		"refused":       down,
		"hanging":       newWorld(t, "2.3.0").hangs(plan).hangs(run),
		"no leader":     newWorld(t, "2.3.0").says(plan, 503, errorsBody("Service temporarily unavailable")).says(run, 503, errorsBody("Service temporarily unavailable")),
		"unknown error": newWorld(t, "2.3.0").says(plan, 500, errorsBody("Internal server error.")).says(run, 500, errorsBody("Internal server error.")),
		"a broker that main() asks is down": newWorld(t, "2.3.0").
			says(plan, 500, errorsBody(rest+prog+"The main method caused an error: x\nCaused by: java.net.ConnectException: Connection refused")).
			says(run, 500, errorsBody(rest+prog+"The main method caused an error: x\nCaused by: java.net.ConnectException: Connection refused")),
	}
	for name, w := range worlds {
		ask := func(t *testing.T, c *flinkrest.Client) {
			for what, err := range map[string]error{
				"plan":   c.Plan(t.Context(), w.URL, flink.Program{}),
				"submit": c.Submit(t.Context(), w.URL, flink.Submission{JobID: job1}),
			} {
				if _, refused := errors.AsType[*flink.Refusal](err); err == nil || refused {
					t.Errorf("%s, %s: got %v", name, what, err)
				}
			}
		}
		if name == "hanging" {
			w.patiently(t, ask)
		} else {
			ask(t, client())
		}
	}
}

func TestPlanAsksWithTheProgramAndStartsNothing(t *testing.T) {
	w := newWorld(t, "2.3.0").recorded("jars-plan", plan)
	p := flink.Program{EntryClass: "com.example.Main", Args: []string{"--rate", "10 0"}, Parallelism: 3}
	if err := client().Plan(t.Context(), w.URL, p); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"entryClass": "com.example.Main", "programArgsList": []any{"--rate", "10 0"}, "parallelism": 3.0}
	if diff := cmp.Diff(want, w.body(plan)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(w.asked) != 1 {
		t.Errorf("asked %v", w.asked)
	}
}

func TestSubmitHandsInOurIDAndTheExplicitPath(t *testing.T) {
	w := newWorld(t, "2.3.0").says(run, 200, `{"jobid":"`+job1+`"}`)
	s := flink.Submission{Program: flink.Program{EntryClass: "M", Parallelism: 2}, JobID: job1, SnapshotPath: "file:/sp/savepoint-1"}
	if err := client().Submit(t.Context(), w.URL, s); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"entryClass": "M", "parallelism": 2.0, "jobId": job1, "savepointPath": "file:/sp/savepoint-1"}
	if diff := cmp.Diff(want, w.body(run)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSubmitOfAKnownIDSaysLookAgain(t *testing.T) { // §12: the same id again is 400 and nothing happens
	for _, version := range versions {
		w := newWorld(t, version).recorded("jars-run-known-id", run)
		if err := client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	w := newWorld(t, "2.3.0").says(run, 400, errorsBody("something else"))
	if err := client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}); err != nil {
		t.Errorf("another bad request: %v", err)
	}
}

func TestSubmitThatAnswersWithAnotherIDIsAnError(t *testing.T) {
	w := newWorld(t, "2.3.0").says(run, 200, `{"jobid":"`+job2+`"}`)
	if err := client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}); err == nil || !strings.Contains(err.Error(), job2) {
		t.Errorf("got %v", err)
	}
}

func TestStopSendsItsTriggerIDAndMayBeAskedAgain(t *testing.T) { // §4 triggers
	for _, version := range versions {
		for _, recording := range []string{"stop-trigger", "stop-trigger-again"} {
			w := newWorld(t, version).recorded(recording)
			if err := client().Stop(t.Context(), w.URL, job1, trig, "file:///flink/sp"); err != nil {
				t.Errorf("%s %s: %v", version, recording, err)
			}
			want := map[string]any{"targetDirectory": "file:///flink/sp", "drain": false, "triggerId": trig}
			if diff := cmp.Diff(want, w.body("POST /jobs/ID/stop")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		w := newWorld(t, version).recorded("savepoint-bad-triggerid", "POST /jobs/ID/stop")
		if err := client().Stop(t.Context(), w.URL, job1, trig, "x"); err == nil || !strings.Contains(err.Error(), "http 400") {
			t.Errorf("%s: got %v", version, err)
		}
		w = newWorld(t, version).says("POST /jobs/ID/stop", 202, `{"request-id":"`+job3+`"}`)
		if err := client().Stop(t.Context(), w.URL, job1, trig, "x"); err == nil {
			t.Errorf("%s: another trigger's id was taken", version)
		}
	}
}

func TestCancelOfATerminalJobIsNoError(t *testing.T) { // §4: 409
	for _, version := range versions {
		for _, recording := range []string{"cancel", "cancel-terminal"} {
			w := newWorld(t, version).recorded(recording)
			if err := client().Cancel(t.Context(), w.URL, job7); err != nil {
				t.Errorf("%s %s: %v", version, recording, err)
			}
		}
		w := newWorld(t, version).recorded("job-unknown", "PATCH /jobs/ID?mode=cancel")
		if err := client().Cancel(t.Context(), w.URL, job7); err == nil || !strings.Contains(err.Error(), "Could not find Flink job") {
			t.Errorf("%s: got %v", version, err)
		}
	}
}
