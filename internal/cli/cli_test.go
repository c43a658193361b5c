package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/internal/manifest"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

const goodManifest = `apiVersion: waterwheel.dev/v1
kind: Job
metadata: {name: fresh}
spec:
  cluster: eu-1
  flinkVersion: "2.3"
  parallelism: 2
`

func TestWhatPeopleSeeLooksAsReviewed(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs(), clusters: sampleClusters()}
	for file, args := range map[string]string{
		"get-jobs.txt":         "get jobs",
		"get-jobs-wide.txt":    "get jobs -o wide",
		"get-job.yaml":         "get job clicks -o yaml",
		"get-job.json":         "get job/clicks -o json",
		"get-clusters.txt":     "get clusters",
		"cluster-list.txt":     "cluster list -o wide",
		"get-clusters.json":    "get clusters -o json",
		"describe-job.txt":     "describe job clicks",
		"describe-failed.txt":  "describe job/mistyped-class",
		"describe-dark.txt":    "describe job dark",
		"describe-cluster.txt": "describe cluster eu-1",
		"invite.txt":           "cluster invite new-one",
		"invite.json":          "cluster invite new-one -o json",
		"help.txt":             "--help",
		"help-delete.txt":      "delete --help",
	} {
		t.Run(file, func(t *testing.T) {
			got := f.do(t.Context(), "", strings.Fields(args)...)
			if got.code != ExitOK || got.err != "" {
				t.Fatalf("exit %d: %s", got.code, got.err)
			}
			golden(t, file, got.out)
		})
	}
}

func TestNothingUnknownIsGreen(t *testing.T) {
	for _, state := range append(jobStates, "", "Sideways") {
		for _, fresh := range []string{"live", "stale", "frozen", ""} {
			c := stateCell(flinkv1.JobStatus_builder{State: state, Freshness: fresh}.Build())
			want := fresh == "live" && (state == "Running" || state == "Finished")
			if (c.colour == green) != want {
				t.Errorf("state %q, freshness %q: green %v, want %v", state, fresh, c.colour == green, want)
			}
			if fresh != "live" && !strings.Contains(c.text, "(") {
				t.Errorf("state %q, freshness %q is shown as %q, as if it were so now", state, fresh, c.text)
			}
		}
	}
	j := runningJob()
	if readyCell(j).colour != green {
		t.Error("a ready job is not green")
	}
	j.GetMetadata().SetGeneration(4)
	if c := readyCell(j); c.colour == green || c.text != "False" {
		t.Errorf("ready for an older spec is shown as %q, %q", c.text, c.colour)
	}
	j.GetStatus().SetFreshness("stale")
	if c := readyCell(j); c.text != "Unknown" {
		t.Errorf("ready when last heard of is shown as %q", c.text)
	}
	if connectedCell(sampleClusters()[1]).colour != red || connectedCell(sampleClusters()[2]).colour == green {
		t.Error("a cluster that is not connected")
	}
}

func TestColourIsForTerminals(t *testing.T) {
	a := &app{now: func() time.Time { return now }}
	var with, without strings.Builder
	if err := a.jobTable(sampleJobs(), false).write(&with, true); err != nil {
		t.Fatal(err)
	}
	if err := a.jobTable(sampleJobs(), false).write(&without, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(with.String(), string(green)+"Running"+reset) || !strings.Contains(with.String(), string(red)+"Failed"+reset) {
		t.Errorf("no colour:\n%q", with.String())
	}
	if strings.Contains(without.String(), "\x1b") {
		t.Errorf("colour:\n%q", without.String())
	}
	for _, c := range []colour{green, red, yellow, reset} {
		with2 := strings.ReplaceAll(with.String(), string(c), "")
		with.Reset()
		with.WriteString(with2)
	}
	if with.String() != without.String() {
		t.Error("colour moves columns")
	}
	if terminal(&with) {
		t.Error("a buffer is no terminal")
	}
}

func TestMachinesReadTheFormOfTheAPI(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs(), clusters: sampleClusters()}
	var list adminv1.ListJobsResponse
	if err := protojson.Unmarshal([]byte(f.do(t.Context(), "", "get", "jobs", "-o", "json").out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.GetItems()) != 4 || !proto.Equal(list.GetItems()[0], runningJob()) {
		t.Errorf("got %v", &list)
	}
	if got := (&fakeHub{}).do(t.Context(), "", "get", "jobs", "-o", "json").out; got != "{\n  \"items\": []\n}\n" {
		t.Errorf("no jobs: %q", got)
	}
	var inv adminv1.InviteClusterResponse
	if err := protojson.Unmarshal([]byte(f.do(t.Context(), "", "cluster", "invite", "x", "-o", "json").out), &inv); err != nil || inv.GetToken() != "t0ken" {
		t.Errorf("invitation: %v, %v", &inv, err)
	}
}

func TestListsAreReadPageByPage(t *testing.T) {
	f := &fakeHub{pageSize: 1}
	for _, name := range []string{"a", "b", "c"} {
		j := runningJob()
		j.GetMetadata().SetName(name)
		f.jobs = append(f.jobs, j)
	}
	got := f.do(t.Context(), "", "get", "jobs")
	if strings.Count(got.out, "\n") != 4 || len(f.calls) != 3 {
		t.Errorf("calls %q:\n%s", f.calls, got.out)
	}
}

func TestWhatIsReadCanBeAppliedAgain(t *testing.T) {
	for _, args := range [][]string{{"get", "job", "clicks", "-o", "yaml"}, {"get", "job", "clicks", "-o", "json"}, {"get", "jobs", "-o", "yaml"}, {"get", "jobs", "-o", "json"}} {
		f := &fakeHub{jobs: sampleJobs()[:1]}
		got := f.do(t.Context(), f.do(t.Context(), "", args...).out, "apply", "-f", "-")
		if got.code != ExitOK || got.out != "job/clicks unchanged\n" {
			t.Errorf("%q: exit %d\n%s%s", args, got.code, got.out, got.err)
		}
		if g := f.applied[0].GetMetadata().GetGeneration(); g != 3 {
			t.Errorf("%q: expected generation %d, want the 3 of the manifest", args, g)
		}
	}
}

func TestApplyExpectsTheGenerationItSaw(t *testing.T) {
	f := &fakeHub{}
	got := f.do(t.Context(), goodManifest, "apply", "-f", "-")
	if got.code != ExitOK || got.out != "job/fresh created\n" {
		t.Fatalf("exit %d\n%s%s", got.code, got.out, got.err)
	}
	if m := f.applied[0].GetMetadata(); !m.HasGeneration() || m.GetGeneration() != 0 || m.GetTenant() != "default" {
		t.Errorf("a job that was not there was sent with %v", m)
	}
	f.jobs[0].GetMetadata().SetGeneration(7)
	got = f.do(t.Context(), strings.Replace(goodManifest, "parallelism: 2", "parallelism: 3", 1), "apply", "-f", "-")
	if got.out != "job/fresh configured\n" || f.applied[1].GetMetadata().GetGeneration() != 7 {
		t.Errorf("%s%s with %v", got.out, got.err, f.applied[1].GetMetadata())
	}
}

func TestApplyNamesEveryFaultWithItsPlace(t *testing.T) {
	detail, err := connectproto.NewErrorDetail(adminv1.BadFields_builder{Fields: []*adminv1.BadField{
		adminv1.BadField_builder{Field: "spec.parallelism", Value: "2000", Remedy: "must be 1 to 1024"}.Build(),
		adminv1.BadField_builder{Field: "spec.jar.uri", Remedy: "is required"}.Build(),
	}}.Build())
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeHub{fail: func(call string) error {
		if call != "ApplyJob" {
			return nil
		}
		return connect.NewError(connect.CodeInvalidArgument, "all of it").WithDetail(detail)
	}}
	got := f.do(t.Context(), goodManifest, "apply", "-f", "-")
	want := "stdin:7:3: spec.parallelism: \"2000\": must be 1 to 1024\nstdin:4:1: spec.jar.uri: is required\n"
	if got.code != ExitUsage || got.err != want || got.out != "" {
		t.Errorf("exit %d\n got %s\nwant %s", got.code, got.err, want)
	}

	got = f.do(t.Context(), strings.Replace(goodManifest, "parallelism", "paralelism", 1), "apply", "-f", "-")
	if want := "stdin:7:3: unknown field \"paralelism\" (did you mean \"parallelism\"?)\n"; got.code != ExitUsage || got.err != want {
		t.Errorf("exit %d\n got %s\nwant %s", got.code, got.err, want)
	}
	got = f.do(t.Context(), goodManifest+"---\n"+goodManifest, "apply", "-f", "-")
	if want := "error: job default/fresh is declared twice: stdin:1 and stdin:9\n"; got.code != ExitUsage || got.err != want {
		t.Errorf("exit %d\n got %s\nwant %s", got.code, got.err, want)
	}
}

func TestOneRefusedManifestDoesNotKeepBackTheOthers(t *testing.T) {
	f := &fakeHub{}
	n := 0
	f.fail = func(call string) error {
		if call != "ApplyJob" {
			return nil
		}
		if n++; n == 1 {
			return connect.NewError(connect.CodeAborted, "generation is 4, not 3: read it again")
		}
		return nil
	}
	got := f.do(t.Context(), goodManifest+"---\n"+strings.Replace(goodManifest, "fresh", "other", 1), "apply", "-f", "-")
	if got.code != ExitConflict || got.out != "job/other created\n" || got.err != "error: stdin: job/fresh: generation is 4, not 3: read it again\n" {
		t.Errorf("exit %d\n%s%s", got.code, got.out, got.err)
	}
}

func TestExitCodesSayWhatWentWrong(t *testing.T) {
	failing := func(code connect.Code, text string) func(string) error {
		return func(string) error { return connect.NewError(code, text) }
	}
	for name, tc := range map[string]struct {
		fail func(string) error
		args string
		code int
		says string
	}{
		"no such job":           {nil, "get job nope", ExitNotFound, `error: no job "nope"`},
		"no such cluster":       {nil, "describe cluster nope", ExitNotFound, `error: no cluster "nope"`},
		"why nothing":           {nil, "why nope", ExitNotFound, `no job "nope"`},
		"delete nothing":        {nil, "delete job nope", ExitNotFound, `no job "nope"`},
		"cluster in use":        {nil, "cluster remove eu-1", ExitConflict, "error: 2 jobs are assigned to eu-1"},
		"cluster removed":       {nil, "cluster remove eu-1 --force", ExitOK, "cluster/eu-1 removed"},
		"restarted":             {nil, "restart clicks", ExitOK, "job/clicks restarting"},
		"restarted from":        {nil, "restart clicks --from s3://b/chk-7", ExitOK, "job/clicks restarting from s3://b/chk-7"},
		"from nothing":          {nil, "restart clicks --from=", ExitUsage, "--from wants the path"},
		"deleting":              {nil, "delete job/clicks --policy cancel", ExitOK, "job/clicks deleting"},
		"one sentence":          {nil, "why job/clicks", ExitOK, "Running since 11:30 from savepoint"},
		"an old sentence":       {nil, "why dark", ExitOK, "(stale, seen 20m ago: its cluster is not heard of, things may have changed)"},
		"is ready":              {nil, "wait job/clicks --for condition=Ready", ExitOK, "job/clicks condition=Ready"},
		"changed":               {failing(connect.CodeAborted, "changed"), "restart clicks", ExitConflict, "error: changed"},
		"denied":                {failing(connect.CodePermissionDenied, "not allowed"), "get jobs", ExitError, `error: not allowed: context "test"`},
		"going down":            {failing(connect.CodeUnavailable, "the hub is going down"), "get jobs", ExitUnreachable, "error: the hub is going down"},
		"many lines":            {failing(connect.CodeInternal, "one\ntwo"), "get jobs", ExitError, "error: one two"},
		"no words":              {failing(connect.CodeInternal, ""), "get jobs", ExitError, "internal"},
		"output":                {nil, "get jobs -o xml", ExitUsage, "error: -o xml: want wide, json or yaml"},
		"kind":                  {nil, "get pods", ExitUsage, `error: "pods": want jobs or clusters`},
		"no name":               {nil, "describe job", ExitUsage, "use it as"},
		"too many":              {nil, "why a b", ExitUsage, "use it as: waterwheel why JOB"},
		"flag":                  {nil, "get jobs --wat", ExitUsage, "unknown flag"},
		"verb":                  {nil, "aply -f x", ExitUsage, `waterwheel has no command "aply" (did you mean "apply"?)`},
		"verb of a group":       {nil, "cluster inivte x", ExitUsage, `did you mean "invite"?`},
		"policy":                {nil, "delete job clicks --policy savpoint", ExitUsage, `did you mean "savepoint"?`},
		"delete cluster":        {nil, "delete cluster eu-1", ExitUsage, "waterwheel cluster remove"},
		"goal":                  {nil, "wait job/clicks --for ready", ExitUsage, "want condition=Ready"},
		"state":                 {nil, "wait job/clicks --for state=Runing", ExitUsage, `did you mean "Running"?`},
		"condition":             {nil, "wait job/clicks --for condition=Redy", ExitUsage, `did you mean "Ready"?`},
		"timeout":               {nil, "wait job/clicks --timeout 0s", ExitUsage, "--timeout"},
		"wait for nothing":      {nil, "wait job/nope --timeout 1m", ExitNotFound, `no job "nope"`},
		"no file":               {nil, "apply", ExitUsage, "-f FILE"},
		"missing file":          {nil, "apply -f /does/not/exist.yaml", ExitError, "no such file"},
		"name of another kind":  {nil, "why cluster/x", ExitUsage, "want the name of a job"},
		"clusters of that name": {nil, "cluster get eu-1", ExitOK, "eu-1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeHub{jobs: sampleJobs(), clusters: sampleClusters(), fail: tc.fail}
			got := f.do(t.Context(), "", strings.Fields(tc.args)...)
			all := got.err + got.out
			if got.code != tc.code || !strings.Contains(all, tc.says) {
				t.Errorf("exit %d, want %d; said:\n%s\nwant in it: %s", got.code, tc.code, all, tc.says)
			}
			if lines := strings.Count(got.err, "\n"); got.code != ExitOK && lines != 1 {
				t.Errorf("%d lines on stderr, want 1:\n%s", lines, got.err)
			}
		})
	}
}

// during runs a command in false time while the test changes what the hub says.
func during(t *testing.T, f *fakeHub, script func(), args ...string) (got result, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			got = f.do(t.Context(), goodManifest, args...)
			took = time.Since(start)
		}()
		if script != nil {
			script()
		}
		<-done
	})
	return got, took
}

func TestWaitEndsWhenTheGoalIsMet(t *testing.T) {
	j := runningJob()
	j.GetMetadata().SetGeneration(4) // Ready, but for generation 3
	f := &fakeHub{jobs: []*flinkv1.Job{j}}
	got, took := during(t, f, func() {
		<-time.After(4500 * time.Millisecond) // of false time
		f.first(func(j *flinkv1.Job) { j.GetStatus().SetObservedGeneration(4) })
	}, "wait", "job/clicks", "--for", "condition=Ready", "--timeout", "60s")
	if got.code != ExitOK || took != 5*time.Second {
		t.Errorf("exit %d after %s: %s%s", got.code, took, got.out, got.err)
	}
}

func TestWaitTimesOutAndSaysHowItStands(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs()}
	got, took := during(t, f, nil, "wait", "job/dark", "--for", "state=Running", "--timeout", "10s")
	want := "error: timed out after 10s waiting for job/dark state=Running: it is Running (stale): Running since 11:30 from savepoint file:/s/savepoints/savepoint-1\n"
	if got.code != ExitTimeout || took != 10*time.Second || got.err != want {
		t.Errorf("exit %d after %s\n got %s\nwant %s", got.code, took, got.err, want)
	}
}

func TestWaitOutlastsAHubThatIsAwayForAMoment(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs()}
	looks := 0
	f.fail = func(string) error {
		if looks++; looks > 1 && looks < 5 {
			return connect.NewError(connect.CodeUnavailable, "going down")
		}
		return nil
	}
	got, _ := during(t, f, func() {
		<-time.After(4500 * time.Millisecond)
		f.first(func(j *flinkv1.Job) { j.GetStatus().SetState("Suspended") })
	}, "wait", "job/clicks", "--for", "state=Suspended")
	if got.code != ExitOK {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	f.fail = func(string) error { return connect.NewError(connect.CodeUnavailable, "going down") }
	if got, _ := during(t, f, nil, "wait", "job/clicks", "--for", "state=Running"); got.code != ExitUnreachable {
		t.Errorf("hub away from the start: exit %d", got.code)
	}
}

func TestDeleteWaitsUntilNothingIsLeft(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs()}
	got, took := during(t, f, func() {
		<-time.After(2500 * time.Millisecond)
		f.change(func([]*flinkv1.Job) []*flinkv1.Job { return nil })
	}, "delete", "job", "clicks", "--policy", "savepoint", "--wait")
	if got.code != ExitOK || took != 3*time.Second || got.out != "job/clicks deleting\njob/clicks deleted\n" || f.deleted[0] != "clicks savepoint" {
		t.Errorf("exit %d after %s, %q: %s%s", got.code, took, f.deleted, got.out, got.err)
	}
}

func TestApplyWaitEndsAtOnceWhenTheJobFailed(t *testing.T) {
	f := &fakeHub{}
	got, took := during(t, f, func() {
		<-time.After(1500 * time.Millisecond)
		f.first(func(j *flinkv1.Job) {
			j.SetStatus(flinkv1.JobStatus_builder{State: "Failed", Freshness: "live", Message: "no class com.X"}.Build())
		})
	}, "apply", "-f", "-", "--wait")
	if got.code != ExitError || took != 2*time.Second || got.out != "job/fresh created\n" || got.err != "error: job/fresh Failed: no class com.X\n" {
		t.Errorf("exit %d after %s: %s%s", got.code, took, got.out, got.err)
	}
}

func TestWatchWritesWhatChangesAndNotWhatAges(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs()[:2]}
	var got result
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			got = f.do(ctx, "", "get", "jobs", "-w")
		}()
		<-time.After(2500 * time.Millisecond)
		f.first(func(j *flinkv1.Job) { j.GetStatus().SetState("Upgrading") })
		<-time.After(2 * time.Second)
		f.first(func(j *flinkv1.Job) { j.GetMetadata().SetCreatedAt(ago(99 * time.Hour)) })
		f.change(func(jobs []*flinkv1.Job) []*flinkv1.Job { return jobs[:1] })
		<-time.After(2 * time.Second)
		stop()
		<-done
	})
	if got.code != ExitInterrupted || got.err != "" {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	golden(t, "watch.txt", got.out)
}

func TestEveryManifestReaderKnowsTheSameKind(t *testing.T) {
	docs, err := jobForm().Read("f", manifest.YAML(runningJob()))
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	if docs[0].Value.GetStatus() != nil {
		t.Error("a status was read")
	}
}

func TestAWrongLineOfAnotherRoomsVerbIsAWrongLine(t *testing.T) {
	for line, want := range map[string]string{
		"play ct dev-1": `waterwheel play has no command "ct" (did you mean "cut"?)`,
		"play cut":      "use it as: waterwheel play cut CLUSTER",
		"play cut a":    "",
	} {
		play := &cobra.Command{Use: "play"}
		play.AddCommand(&cobra.Command{Use: "cut CLUSTER", Args: cobra.ExactArgs(1), RunE: func(*cobra.Command, []string) error { return nil }})
		root := New("test", play)
		var errs bytes.Buffer
		root.SetErr(&errs)
		code := execute(t.Context(), root, strings.Fields(line))
		if wantCode := map[bool]int{true: ExitUsage, false: ExitOK}[want != ""]; code != wantCode || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: code %d, %q; want %q", line, code, errs.String(), want)
		}
	}
}

func TestWatchOutlastsAHubThatIsAwayForAMoment(t *testing.T) {
	f := &fakeHub{jobs: sampleJobs()[:1]}
	looks := 0
	f.fail = func(string) error {
		if looks++; looks > 1 && looks < 5 {
			return connect.NewError(connect.CodeUnavailable, "going down")
		}
		return nil
	}
	var got result
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			got = f.do(ctx, "", "get", "jobs", "-w")
		}()
		<-time.After(2500 * time.Millisecond)
		f.first(func(j *flinkv1.Job) { j.GetStatus().SetState("Upgrading") })
		<-time.After(10 * time.Second)
		stop()
		<-done
	})
	if got.code != ExitInterrupted || strings.Count(got.err, "the hub does not answer") != 1 || strings.Count(got.out, "Upgrading") != 1 ||
		strings.Contains(got.out, "Gone") {
		t.Errorf("exit %d: %s%s", got.code, got.out, got.err)
	}
}

func TestWhatAnAgentWroteDoesNotCommandTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2J\r\nb\x07\x00c\u009bd": "a [2J b c d",
		"from\u202eevil\u2066":          "from evil",
		"  Läuft seit 12:03, schön  ":   "Läuft seit 12:03, schön",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q reads %q, want %q", in, got, want)
		}
	}
}
