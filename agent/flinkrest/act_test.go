package flinkrest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
)

const (
	plan = "POST /jars/job.jar/plan"
	run  = "POST /jars/job.jar/run"
	rest = "org.apache.flink.runtime.rest.handler.RestHandlerException: Could not execute application.\n\tat a.B.c(D.java:1)\n"
	prog = "Caused by: org.apache.flink.client.program.ProgramInvocationException: "
)

func serverSide(stack string) string {
	return errorsBody("Internal server error.", "<Exception on server side:\n"+stack+"\nEnd of exception on server side>")
}

// The texts are those seen at real JobManagers for each mistake of a program.
var refusals = []struct {
	name string
	body string
	kind flink.RefusalKind
	in   string // must stand in the cause
}{
	{
		"wrong class", serverSide("org.apache.flink.client.program.ProgramInvocationException: The program's entry point class 'com.example.Missing' was not found in the jar file.\n" +
			"\tat a.B.c(D.java:1)\nCaused by: java.lang.ClassNotFoundException: com.example.Missing\n\t... 9 more\n"),
		flink.RefusedProgram, "com.example.Missing",
	},
	{
		"main() throws", serverSide("java.util.concurrent.CompletionException: org.apache.flink.util.FlinkRuntimeException: Could not execute application.\n\tat a.B.c(D.java:1)\n" +
			prog + "The main method caused an error: bad argument in main\n\tat a.B.c(D.java:1)\nCaused by: java.lang.IllegalArgumentException: bad argument in main\n\t... 3 more\n"),
		flink.RefusedProgram, "bad argument in main",
	},
	{
		"no execute()", errorsBody(rest + prog + "The program plan could not be fetched - the program aborted pre-maturely.\n\t... 3 more\n"),
		flink.RefusedProgram, "aborted pre-maturely",
	},
	{
		"more than one execute()", errorsBody(rest + prog + "The main method caused an error: Cannot have more than 1 streaming jobs in a single environment.\n\tat a.B.c(D.java:1)\n" +
			"Caused by: org.apache.flink.util.FlinkRuntimeException: Cannot have more than 1 streaming jobs in a single environment.\n\t... 3 more\n"),
		flink.RefusedProgram, "more than 1 streaming jobs",
	},
	{
		"it needs its result", errorsBody(rest + prog + "The main method caused an error: Job was submitted in detached mode. Results of job execution, such as accumulators, runtime, etc. are not available.\n" +
			"\tat a.B.c(D.java:1)\nCaused by: org.apache.flink.api.common.InvalidProgramException: Job was submitted in detached mode. Results of job execution are not available.\n\t... 3 more\n"),
		flink.RefusedProgram, "detached mode",
	},
	{
		"no jar", serverSide("java.util.concurrent.CompletionException: org.apache.flink.runtime.rest.handler.RestHandlerException: Jar file /flink/up/flink-web-upload/job.jar does not exist\n\tat a.B.c(D.java:1)\n"),
		flink.RefusedJar, "does not exist",
	},
}

func TestADefiniteNoIsARefusalWithItsInnermostCause(t *testing.T) { // §12 preflight and run
	for _, tt := range refusals {
		for key, call := range map[string]func(*world) error{
			plan: func(w *world) error { return client().Plan(t.Context(), w.URL, flink.Program{EntryClass: "X"}) },
			run:  func(w *world) error { return client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}) },
		} {
			for _, code := range []int{400, 500} {
				w := newWorld(t, "2.3.0").says(key, code, tt.body)
				err := call(w)
				r, ok := errors.AsType[*flink.Refusal](err)
				if !ok || r.Kind != tt.kind || !strings.Contains(r.Cause.String(), tt.in) || strings.Contains(r.Cause.Message, "\n") {
					t.Errorf("%s, %s %d: got %v", tt.name, key, code, err)
				}
				if ok && !r.Permanent() {
					t.Errorf("%s: not permanent", tt.name)
				}
			}
		}
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
		for what, err := range map[string]error{
			"plan":   hasty().Plan(t.Context(), w.URL, flink.Program{}),
			"submit": hasty().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}),
		} {
			if _, refused := errors.AsType[*flink.Refusal](err); err == nil || refused {
				t.Errorf("%s, %s: got %v", name, what, err)
			}
		}
	}
}

func TestPlanAsksWithTheProgramAndStartsNothing(t *testing.T) {
	w := newWorld(t, "2.3.0").says(plan, 200, `{"plan":{"nodes":[]}}`)
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
	for _, class := range []string{
		"org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already been submitted.",
		"org.apache.flink.runtime.client.DuplicateApplicationSubmissionException: Application has already been submitted.",
	} {
		w := newWorld(t, "2.3.0").says(run, 400, errorsBody(rest+prog+"The main method caused an error: Failed to execute job 'x'.\nCaused by: "+class))
		if err := client().Submit(t.Context(), w.URL, flink.Submission{JobID: job1}); err != nil {
			t.Errorf("%s: %v", class, err)
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
