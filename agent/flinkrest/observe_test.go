package flinkrest_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Each row is a fact or a trap of real Flink (the recordings are of real runs),
// and what an observation must make of it.
var traps = []struct {
	name  string
	fact  string // where the fact stands in the notes on real Flink
	world func(*world)
	query flink.RESTQuery
	check func(*testing.T, flink.REST)
}{
	{
		"a healthy job is told whole", "§4",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("job-running").
				recorded("checkpoints-with-savepoint").recorded("job-metrics").recorded("resource-requirements")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			j := r.Job
			if !r.Reachable || !r.JobsListed || r.Err != "" || j == nil || len(r.OtherJobs) != 0 {
				t.Fatalf("got %+v", r)
			}
			if !j.AllRunning() || j.TasksTotal != 3 || j.Parallelism != 2 || j.Wanted != 2 || j.Name != "test-counter" || j.StartTime.IsZero() {
				t.Errorf("job %+v", j)
			}
			if r.TaskManagers != 1 || r.SlotsTotal != 2 || r.SlotsFree != 0 || r.FlinkVersion == "" {
				t.Errorf("overview %+v", r)
			}
			if n, ok := flink.CheckpointID(j.Latest.Path); !ok || n != j.Latest.ID || j.Latest.Kind != flink.KindCheckpoint || j.Completed < 1 {
				t.Errorf("latest %+v of %d", j.Latest, j.Completed)
			}
		},
	},
	{
		"a job list that is empty right after the start is read, and has no job", "§9 trap 4",
		func(w *world) { w.recorded("overview-no-tm").recorded("startup-jobs-overview-empty") },
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if !r.Reachable || !r.JobsListed || r.Job != nil || r.Err != "" {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"the state is the job list's, not that of the older cache behind the job's own path", "§9 trap 3",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("job-waiting-resources").recorded("checkpoints-none")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job.State != flink.JobRunning || r.Job.Parallelism != 0 {
				t.Errorf("got %+v", r.Job)
			}
		},
	},
	{
		"a job in the list whose own path is 404 yet is there, without complaint", "§4 start-up sequence",
		func(w *world) {
			w.recorded("overview-no-tm").recorded("jobs-overview-waiting-resources").recorded("startup-jobs-id-404")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job == nil || r.Job.State != flink.JobCreated || r.Job.TasksTotal != 0 || r.Err != "" {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"CREATED without tasks after all TaskManagers are gone, with its cause", "§9 trap 14, §4",
		func(w *world) {
			w.recorded("overview-no-tm").recorded("jobs-overview-no-tm-left").recorded("exceptions-last-tm-killed")
		},
		flink.RESTQuery{JobID: job7},
		func(t *testing.T, r flink.REST) {
			if r.Job.State != flink.JobCreated || r.Job.AllRunning() || r.Job.Cause == nil || !strings.Contains(r.Job.Cause.Message, "no longer reachable") {
				t.Errorf("got %+v", r.Job)
			}
		},
	},
	{
		"what came back is told in the normal form, whatever was asked for", "§4 restore proof",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("checkpoints-restored")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			got := r.Job.Restored
			if got == nil || !strings.HasPrefix(got.Path, "file:/flink/sp/savepoint-") || !got.IsSavepoint || got.ID == 0 || got.At.IsZero() {
				t.Errorf("got %+v", got)
			}
			if flink.NormalizePath("file:///"+strings.TrimPrefix(got.Path, "file:/")+"/_metadata") != got.Path {
				t.Errorf("%q is not the normal form", got.Path)
			}
		},
	},
	{
		"a restore from an object store keeps its address", "§4 restore proof",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("s3-checkpoints-restored")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if !strings.HasPrefix(r.Job.Restored.Path, "s3://flink/") || !strings.HasPrefix(r.Job.Latest.Path, "s3://flink/") {
				t.Errorf("got %+v, %+v", r.Job.Restored, r.Job.Latest)
			}
		},
	},
	{
		"a start from chk-N is told as a savepoint by Flink, with the path as it is", "§4 is_savepoint",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("checkpoints-restored-from-chk-new-id")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if !r.Job.Restored.IsSavepoint || !strings.HasSuffix(r.Job.Restored.Path, "/"+job2+"/chk-25") {
				t.Errorf("got %+v", r.Job.Restored)
			}
			if !strings.Contains(r.Job.Latest.Path, job3) {
				t.Errorf("latest %+v", r.Job.Latest)
			}
		},
	},
	{
		"a restart inside Flink overwrites what came back with a checkpoint", "§4 latest.restored",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("checkpoints-after-internal-restart").
				recorded("job-metrics-after-restart").recorded("exceptions-throw-once")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job.Restored.IsSavepoint || r.Job.Restarts != 1 || r.Job.Cause == nil {
				t.Errorf("got %+v", r.Job)
			}
		},
	},
	{
		"a rescale counts as a restore too, and no failure comes with it", "§4, §9 trap 8",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("checkpoints-after-rescale").
				says("GET /jobs/ID/metrics?get=numRestarts", 200, `[{"id":"numRestarts","value":"3"}]`).recorded("exceptions-none")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job.Restarts != 3 || r.Job.Cause != nil || r.Job.Restored.IsSavepoint || r.Err != "" {
				t.Errorf("got %+v", r.Job)
			}
		},
	},
	{
		"metrics that are not there yet are no restart and no complaint", "§9 trap 6",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").says("GET /jobs/ID/metrics?get=numRestarts", 200, `[]`)
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job.Restarts != 0 || r.Err != "" {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"a metric that is NaN is no restart", "flink notes, 2.5 rule 4",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").
				says("GET /jobs/ID/metrics?get=numRestarts", 200, `[{"id":"numRestarts","value":"NaN"}]`)
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if r.Job.Restarts != 0 || r.Err != "" {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"statistics that are NaN do not spoil the checkpoints before the first", "fixture checkpoints-none",
		func(w *world) { w.recorded("overview").recorded("jobs-overview-running").recorded("checkpoints-none") },
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			if !r.Job.Latest.IsZero() || r.Job.Completed != 0 || r.Job.Restored != nil || r.Err != "" {
				t.Errorf("got %+v, %q", r.Job, r.Err)
			}
		},
	},
	{
		"after a stop the savepoint is the newest, and the discarded checkpoint is not", "fixture checkpoints-after-stop",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-finished").recorded("checkpoints-after-stop")
		},
		flink.RESTQuery{JobID: job1},
		func(t *testing.T, r flink.REST) {
			l := r.Job.Latest
			if r.Job.State != flink.JobFinished || l.Kind != flink.KindSavepoint || l.ID != 0 || !strings.HasPrefix(l.Path, "file:/flink/sp/savepoint-") || l.CompletedAt.IsZero() {
				t.Errorf("got %+v", l)
			}
		},
	},
	{
		"checkpoints are reset to nothing when the job's graph cannot be rebuilt: no path is made up", "§4, §9 trap 13",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-failed").recorded("checkpoints-failing").recorded("execution-result-failed")
		},
		flink.RESTQuery{JobID: job7},
		func(t *testing.T, r flink.REST) {
			if !r.Job.Latest.IsZero() || r.Job.Completed != 0 || r.Job.State != flink.JobFailed {
				t.Errorf("got %+v", r.Job)
			}
		},
	},
	{
		"a job whose restarts are used up tells its user's exception, and keeps its checkpoints", "§5 user exception",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-failed").recorded("checkpoints-failed-job").recorded("execution-result-failed")
		},
		flink.RESTQuery{JobID: job7},
		func(t *testing.T, r flink.REST) {
			c := r.Job.Cause
			if c == nil || c.Class != "java.lang.IllegalStateException" || !strings.HasPrefix(c.Message, "test failure at ") {
				t.Errorf("cause %+v", c)
			}
			if r.Job.Latest.IsZero() {
				t.Error("no checkpoint")
			}
		},
	},
	{
		"a failed restore is not in the exceptions: its cause comes from the execution result", "§4 exceptions, §9 trap 9",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-failed").recorded("checkpoints-none").
				recorded("exceptions-missing-savepoint").recorded("execution-result-missing-savepoint")
		},
		flink.RESTQuery{JobID: job7},
		func(t *testing.T, r flink.REST) {
			want := "Cannot find checkpoint or savepoint file/directory 'file:///flink-nowhere/savepoint-000000-000000000000' on file system 'file'."
			if c := r.Job.Cause; c == nil || c.Class != "java.io.FileNotFoundException" || c.Message != want {
				t.Errorf("got %+v", c)
			}
		},
	},
	{
		"the newest of several exceptions is told, by its innermost cause", "§4 exceptions",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-failed").recorded("exceptions-throw-always")
		},
		flink.RESTQuery{JobID: job7},
		func(t *testing.T, r flink.REST) {
			c := r.Job.Cause
			if c == nil || !strings.HasPrefix(c.Message, "test failure at") || c.At.IsZero() || c.Class != "java.lang.IllegalStateException" {
				t.Errorf("got %+v", c)
			}
		},
	},
	{
		"jobs that are not ours are told apart", "a program with several execute()",
		func(w *world) { w.recorded("overview").recorded("jobs-overview-running") },
		flink.RESTQuery{JobID: job2},
		func(t *testing.T, r flink.REST) {
			if r.Job != nil || !cmp.Equal(r.OtherJobs, []string{job1}) {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"a stop in progress", "§4 triggers",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("stop-in-progress")
		},
		flink.RESTQuery{JobID: job1, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			if r.Trigger == nil || r.Trigger.Completed || r.Trigger.Location != "" || r.Trigger.Failure != nil || r.Trigger.ID != trig || r.TriggerGone {
				t.Errorf("got %+v", r.Trigger)
			}
		},
	},
	{
		"the result of a stop is read in the same look that sees it finished", "§9 trap 2",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-finished").recorded("stop-completed")
		},
		flink.RESTQuery{JobID: job1, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			if r.Trigger == nil || !r.Trigger.Completed || !strings.HasPrefix(r.Trigger.Location, "file:/flink/sp/savepoint-111111-") || r.Trigger.Failure != nil {
				t.Errorf("got %+v", r.Trigger)
			}
		},
	},
	{
		"COMPLETED is also said of a stop that failed", "§4 triggers",
		func(w *world) { w.recorded("overview").recorded("jobs-overview-running").recorded("stop-failed") },
		flink.RESTQuery{JobID: job1, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			tr := r.Trigger
			if tr == nil || !tr.Completed || tr.Location != "" || tr.Failure == nil || tr.Failure.Class != "java.nio.file.FileAlreadyExistsException" {
				t.Errorf("got %+v", tr)
			}
		},
	},
	{
		"a stop whose job failed after its savepoint was written still names the savepoint", "flink notes, 1.6",
		func(w *world) {
			text := "java.util.concurrent.CompletionException: org.apache.flink.runtime.scheduler.stopwithsavepoint.StopWithSavepointStoppingException: " +
				"A savepoint has been created at: file:/flink/sp/savepoint-111111-abc, but the corresponding job " + job1 + " failed during stopping.\\n\\tat a.B.c(D.java:1)"
			w.recorded("overview").recorded("jobs-overview-failed").
				says("GET /jobs/ID/savepoints/ID", 200, `{"status":{"id":"COMPLETED"},"operation":{"failure-cause":{"class":"java.util.concurrent.CompletionException","stack-trace":"`+text+`"}}}`)
		},
		flink.RESTQuery{JobID: job7, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			if r.Trigger == nil || r.Trigger.Location != "file:/flink/sp/savepoint-111111-abc" || r.Trigger.Failure == nil {
				t.Errorf("got %+v", r.Trigger)
			}
		},
	},
	{
		"a trigger that this JobManager does not know is gone", "§4 triggers",
		func(w *world) {
			w.recorded("overview").recorded("jobs-overview-running").recorded("savepoint-unknown-trigger")
		},
		flink.RESTQuery{JobID: job1, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			if !r.TriggerGone || r.Trigger != nil || r.Err != "" {
				t.Errorf("got %+v", r)
			}
		},
	},
	{
		"a trigger accepted for a job that is not there fails in its status", "§4 triggers",
		func(w *world) {
			w.recorded("overview").recorded("startup-jobs-overview-empty").recorded("savepoint-missing-job-status")
		},
		flink.RESTQuery{JobID: job1, TriggerID: trig},
		func(t *testing.T, r flink.REST) {
			if r.Trigger == nil || r.Trigger.Failure == nil || !strings.HasSuffix(r.Trigger.Failure.Class, "FlinkJobNotFoundException") {
				t.Errorf("got %+v", r.Trigger)
			}
		},
	},
}

func TestObserveKnowsTheTrapsOfRealFlink(t *testing.T) {
	for _, version := range versions {
		for _, tt := range traps {
			t.Run(version+"/"+tt.name, func(t *testing.T) {
				w := newWorld(t, version)
				tt.world(w)
				tt.check(t, client().Observe(t.Context(), w.URL, tt.query))
			})
		}
	}
}

func TestALeaderElectionIsAnAnswerWithoutAJobList(t *testing.T) { // §4 start-up sequence
	w := newWorld(t, "1.20.5").recorded("overview-no-tm").recorded("startup-jobs-overview-503")
	r := client().Observe(t.Context(), w.URL, flink.RESTQuery{JobID: job1, TriggerID: trig})
	if !r.Reachable || r.JobsListed || r.Job != nil || r.TriggerGone || !strings.Contains(r.Err, "leader election") {
		t.Errorf("got %+v", r)
	}
}

func TestAHealthyJobCostsNoCallForExceptions(t *testing.T) {
	w := newWorld(t, "2.3.0").recorded("overview").recorded("jobs-overview-running").recorded("job-running").recorded("checkpoints-completed").
		says("GET /jobs/ID/metrics?get=numRestarts", 200, `[{"id":"numRestarts","value":"0"}]`)
	client().Observe(t.Context(), w.URL, flink.RESTQuery{JobID: job1})
	if n := w.count("GET /jobs/ID/exceptions?maxExceptions=1") + w.count("GET /jobs/ID/execution-result"); n != 0 {
		t.Errorf("%d calls", n)
	}
	if len(w.asked) != 6 {
		t.Errorf("asked %v", w.asked)
	}
}

func TestNothingToAskIsNotAsked(t *testing.T) {
	if r := client().Observe(t.Context(), "", flink.RESTQuery{JobID: job1}); !cmp.Equal(r, flink.REST{}) {
		t.Errorf("got %+v", r)
	}
}

func TestOtherKeysAreToldFromSilence(t *testing.T) {
	answers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	stranger := httptest.NewUnstartedServer(answers) // of an authority that the client has never heard of
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	defer stranger.Close()
	gone := httptest.NewTLSServer(answers)
	gone.Close()
	c := flinkrest.New(flinkrest.Config{HTTP: &http.Client{Transport: &http.Transport{}}})
	if r := c.Observe(t.Context(), stranger.URL, flink.RESTQuery{}); r.Reachable || !r.OtherKeys {
		t.Errorf("a server with other keys: %+v", r)
	}
	if r := c.Observe(t.Context(), gone.URL, flink.RESTQuery{}); r.Reachable || r.OtherKeys || r.Err == "" {
		t.Errorf("a server that is gone: %+v", r)
	}
}

func TestWhatCannotBeHadIsPartOfTheObservation(t *testing.T) {
	down := newWorld(t, "2.3.0")
	down.Close()
	tests := []struct {
		name      string
		world     func() *world
		reachable bool
		listed    bool
		err       string
	}{
		{"refused", func() *world { return down }, false, false, "refused"},
		{"hanging", func() *world { return newWorld(t, "2.3.0").hangs("GET /overview") }, false, false, "deadline"},
		{"hanging job list", func() *world { return newWorld(t, "2.3.0").recorded("overview").hangs("GET /jobs/overview") }, false, false, "deadline"},
		{"garbage", func() *world {
			return newWorld(t, "2.3.0").says("GET /overview", 200, "<html>").says("GET /jobs/overview", 200, "<html>")
		}, true, false, "not the expected JSON"},
		{"another service's JSON", func() *world {
			return newWorld(t, "2.3.0").says("GET /overview", 200, "{}").says("GET /jobs/overview", 200, "{}")
		}, true, false, "no list of jobs"},
		{"oversized", func() *world {
			return newWorld(t, "2.3.0").recorded("overview").says("GET /jobs/overview", 200, `{"jobs":[],"x":"`+strings.Repeat("x", 9<<20)+`"}`)
		}, true, false, "larger than"},
		{"a redirect is not followed", func() *world {
			return newWorld(t, "2.3.0").recorded("overview").says("GET /jobs/overview", 302, "").says("GET /elsewhere", 200, `{"jobs":[]}`)
		}, true, false, "http 302"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.world()
			look := func(t *testing.T, c *flinkrest.Client) {
				r := c.Observe(t.Context(), w.URL, flink.RESTQuery{JobID: job1, TriggerID: trig})
				if !r.Asked || r.Reachable != tt.reachable || r.JobsListed != tt.listed || !strings.Contains(r.Err, tt.err) || r.TriggerGone {
					t.Errorf("got %+v", r)
				}
				if strings.Contains(r.Err, "\n") || len(r.Err) > 1024 {
					t.Errorf("not one bounded line: %q", r.Err)
				}
			}
			if tt.err != "deadline" {
				look(t, client())
				return
			}
			w.patiently(t, func(t *testing.T, c *flinkrest.Client) {
				start := time.Now()
				look(t, c)
				if took := time.Since(start); took != flinkrest.DefaultTimeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestAHangingDetailLeavesTheRestOfTheObservation(t *testing.T) { // §5 TM SIGSTOP: one path may hang for ever
	w := newWorld(t, "2.3.0").recorded("overview").recorded("jobs-overview-running").hangs("GET /jobs/ID").recorded("checkpoints-completed")
	w.patiently(t, func(t *testing.T, c *flinkrest.Client) {
		r := c.Observe(t.Context(), w.URL, flink.RESTQuery{JobID: job1})
		if !r.Reachable || r.Job == nil || r.Job.Latest.IsZero() || r.Job.Parallelism != 0 || r.Err == "" {
			t.Errorf("got %+v %+v", r, r.Job)
		}
	})
}

func TestAWholeObservationHasADeadline(t *testing.T) {
	w := newWorld(t, "2.3.0").recorded("overview").recorded("jobs-overview-running")
	for _, k := range []string{"GET /jobs/ID", "GET /jobs/ID/checkpoints", "GET /jobs/ID/metrics?get=numRestarts", "GET /jobs/ID/savepoints/ID"} {
		w.hangs(k)
	}
	w.patiently(t, func(t *testing.T, c *flinkrest.Client) {
		start := time.Now()
		r := c.Observe(t.Context(), w.URL, flink.RESTQuery{JobID: job1, TriggerID: trig})
		if took := time.Since(start); r.Job == nil || r.TriggerGone || took != flinkrest.DefaultObserveTimeout {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}
