package failure_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// fixture is a recorded failure of real Flink.
type fixture struct {
	Scenario string
	Source   string
	Text     string
	Chain    []failure.Link
}

// stack is the recorded text, or, where the recording was cut short, the text of its chain.
func (f fixture) stack() string {
	if !strings.Contains(f.Text, "trimmed") {
		return f.Text
	}
	heads := make([]string, len(f.Chain))
	for i, l := range f.Chain {
		heads[i] = l.Class + ": " + l.Message + "\n\tat a.B.c(D.java:1)"
	}
	return strings.Join(heads, "\nCaused by: ")
}

func readFixture(t *testing.T, path string) fixture {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// expected says, for each recording, where it is read in the life of a run and
// which row must find it. An empty id means: unknown on purpose, the user's own exception.
var expected = map[string]struct {
	where failure.Where
	id    string
	kind  failure.Kind
}{
	"ask-timeout":                               {failure.AtRestore, "rpc-timeout", failure.Transient},
	"ask-timeout-jmlog":                         {failure.InLog, "rpc-timeout", failure.Transient},
	"ask-timeout-tmlog":                         {failure.InLog, "rpc-timeout", failure.Transient},
	"changed-sink-jmlog":                        {failure.AtRestore, "state-mismatch", failure.Permanent},
	"changed-uid-jmlog":                         {failure.AtRestore, "state-mismatch", failure.Permanent},
	"checkpoint-declined-tasks-not-ready-jmlog": {failure.InLog, "checkpoint-not-ready", failure.Transient},
	"checkpoint-dir-unwritable":                 {failure.AtRunning, "checkpoint-io", failure.Transient},
	"checkpoint-dir-unwritable-final":           {failure.AtRunning, "storage-broken", failure.Transient},
	"checkpoint-dir-unwritable-jmlog":           {failure.InLog, "storage-broken", failure.Transient},
	"checkpoint-expired":                        {failure.AtRunning, "checkpoint-expired", failure.Transient},
	"corrupt-metadata-jmlog":                    {failure.AtRestore, "snapshot-corrupt", failure.Permanent},
	"fail-main":                                 {failure.AtStart, "main-failed", failure.Permanent},
	"fail-main-jmlog":                           {failure.AtStart, "main-failed", failure.Permanent},
	"heartbeat-timeout":                         {failure.AtRunning, "taskmanager-silent", failure.Transient},
	"last-tm-killed":                            {failure.AtRunning, "taskmanager-lost", failure.Transient},
	"lost-state-file":                           {failure.AtRestore, "state-file-missing", failure.Permanent},
	"max-parallelism-jmlog":                     {failure.AtRestore, "max-parallelism", failure.Permanent},
	"missing-jar-jmlog":                         {failure.InLog, "jar-missing", failure.Permanent},
	"missing-savepoint-jmlog":                   {failure.AtRestore, "snapshot-missing", failure.Permanent},
	"no-job-jmlog":                              {failure.AtStart, "no-execute", failure.Permanent},
	"no-slots-default-scheduler":                {failure.AtRestore, "no-slots", failure.Transient},
	"no-slots-default-scheduler-jmlog":          {failure.AtRestore, "no-slots", failure.Transient},
	"no-slots-jmlog":                            {failure.AtRestore, "no-slots", failure.Transient},
	"oom-heap":                                  {failure.AtRunning, "out-of-memory", failure.Transient},
	"oom-heap-tm-exits":                         {failure.AtRunning, "taskmanager-lost", failure.Transient},
	"oom-heap-tm-exits-tmlog":                   {failure.InLog, "out-of-memory", failure.Transient},
	"rest-port-in-use-jmlog":                    {failure.InLog, "port-taken", failure.Transient},
	"s3-bad-secret":                             {failure.AtRestore, "storage-denied", failure.Permanent},
	"s3-endpoint-down":                          {failure.AtRestore, "storage-unreachable", failure.Transient},
	"s3-no-such-bucket":                         {failure.AtRestore, "storage-no-bucket", failure.Permanent},
	"s3-plugin-missing":                         {failure.AtRestore, "storage-plugin", failure.Permanent},
	"savepoint-of-other-major-jmlog":            {failure.AtRestore, "snapshot-version", failure.Permanent},
	"stop-savepoint-failed":                     {failure.AtTrigger, "savepoint-directory", failure.Transient},
	"throw-always":                              {failure.AtRunning, "", failure.Unknown},
	"throw-always-jmlog":                        {failure.AtRunning, "", failure.Unknown},
	"throw-once":                                {failure.AtRunning, "", failure.Unknown},
	"tm-killed":                                 {failure.AtRunning, "taskmanager-lost", failure.Transient},
	"wrong-class-jmlog":                         {failure.AtStart, "wrong-class", failure.Permanent},
	"tm-registration-timeout-tmlog":             {failure.InLog, "taskmanager-unregistered", failure.Transient},
}

func TestEachRecordedFailureIsClassifiedAsTheTableSays(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(paths) < 70 {
		t.Fatalf("recordings: %d, %v", len(paths), err)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		seen[name] = true
		t.Run(filepath.Base(filepath.Dir(path))+"/"+name, func(t *testing.T) {
			want, ok := expected[name]
			if !ok {
				t.Fatal("a recording without an expectation")
			}
			f := readFixture(t, path)
			chain := failure.Parse(f.stack())
			if len(chain) == 0 {
				t.Fatal("no chain in the text")
			}
			v := failure.Classify(chain, want.where)
			if v.ID != want.id || v.Kind != want.kind {
				t.Errorf("got %q %q, want %q %q\n%+v", v.ID, v.Kind, want.id, want.kind, chain)
			}
			cause := failure.Innermost(chain)
			if v := failure.ClassifyCause(&cause, want.where); v.Kind != want.kind && v.Kind != failure.Unknown {
				t.Errorf("its cause %+v alone reads as %q %q, against %q", cause, v.ID, v.Kind, want.kind)
			}
		})
	}
	for name := range expected {
		if !seen[name] {
			t.Errorf("an expectation without a recording: %s", name)
		}
	}
}

func TestInnermostIsTheLastCauseOfTheRecordedChain(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*/*.json")
	for _, path := range paths {
		f := readFixture(t, path)
		last := f.Chain[len(f.Chain)-1]
		want := flink.Cause{Class: last.Class, Message: failure.OneLine(last.Message)}
		if inner, ok := strings.CutPrefix(last.Message, "org.apache.flink.runtime.checkpoint.CheckpointException: "); ok {
			want = flink.Cause{Class: "org.apache.flink.runtime.checkpoint.CheckpointException", Message: inner}
		}
		got := failure.Innermost(failure.Parse(f.stack()))
		got.Top = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-recorded +parsed)\n%s", path, diff)
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []failure.Link
	}{
		{"nothing", "", nil},
		{"blank", " \n\n", nil},
		{"a message alone", "something went wrong", []failure.Link{{Message: "something went wrong"}}},
		{"a class alone", "java.lang.NullPointerException", []failure.Link{{Class: "java.lang.NullPointerException"}}},
		{
			"frames and modules are no message",
			"a.B: x\n\tat java.base/java.lang.Thread.run(Thread.java:840) ~[?:?]\n\tat app//T$C.f(T.java:1)\n\t... 3 more\nCaused by: c.D: y\n\t... 18 more\n",
			[]failure.Link{{Class: "a.B", Message: "x"}, {Class: "c.D", Message: "y"}},
		},
		{
			"a doubled carrier is unwrapped",
			"java.util.concurrent.CompletionException: java.util.concurrent.CompletionException: a.B: x\n\tat p.Q.r(Q.java:1)\n" +
				"Caused by: java.util.concurrent.CompletionException: a.B: x\n\t... 2 more\nCaused by: a.B: x\n\t... 1 more\n",
			[]failure.Link{{Class: "a.B", Message: "x"}},
		},
		{
			"a carrier without its cause still tells it",
			"java.util.concurrent.CompletionException: org.apache.flink.util.SerializedThrowable: a.B: x",
			[]failure.Link{{Class: "a.B", Message: "x"}},
		},
		{
			"a message of several lines becomes one",
			"a.B: first\nsecond\tline\n\tat p.Q.r(Q.java:1)\n",
			[]failure.Link{{Class: "a.B", Message: "first second line"}},
		},
		{
			"what is suppressed is no cause",
			"a.B: x\n\tat p.Q.r(Q.java:1)\n\tSuppressed: e.F: z\n\t\tat p.Q.s(Q.java:2)\n\tCaused by: g.H: w\nCaused by: c.D: y\n",
			[]failure.Link{{Class: "a.B", Message: "x"}, {Class: "c.D", Message: "y"}},
		},
		{
			"what main() printed is not told",
			"a.B: no execute\n\nClasspath: [file:/x.jar]\n\nSystem.out: password=1\n\nSystem.err: (none)",
			[]failure.Link{{Class: "a.B", Message: "no execute"}},
		},
		{
			"the server's brackets are not part of it",
			"<Exception on server side:\na.B: x\n\tat p.Q.r(Q.java:1)\n\nEnd of exception on server side>",
			[]failure.Link{{Class: "a.B", Message: "x"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, failure.Parse(tt.text)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseBoundsAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{
				"\nCaused by: ", "java.lang.Exception: ", "\n\tat a.B.c(D.java:1)", "\n\t... 3 more", strings.Repeat("é", 2000),
				"java.util.concurrent.CompletionException: ", "<Exception on server side:\n", "\n\tSuppressed: ",
			}),
		), 0, 80).Draw(t, "parts")
		chain := failure.Parse(strings.Join(parts, ""))
		if len(chain) > failure.MaxLinks {
			t.Fatalf("%d links", len(chain))
		}
		for _, l := range chain {
			if len(l.Message) > failure.MaxMessage || strings.ContainsAny(l.Message, "\n\r\t") || !utf8.ValidString(l.Message) {
				t.Fatalf("not a bounded line: %q", l.Message)
			}
		}
		failure.Classify(chain, failure.AtRunning)
	})
}

func TestTheTopIsTheFirstClassThatSaysMore(t *testing.T) {
	c := failure.Innermost([]failure.Link{
		{Class: "java.lang.Exception", Message: "Exception while creating StreamOperatorStateContext."},
		{Class: "org.apache.flink.runtime.state.BackendBuildingException", Message: "Failed"},
		{Class: "java.io.FileNotFoundException", Message: "/x"},
	})
	want := flink.Cause{
		Class: "java.io.FileNotFoundException", Message: "/x",
		Top: "org.apache.flink.runtime.state.BackendBuildingException",
	}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if v := failure.ClassifyCause(&c, failure.AtRestore); v.ID != "state-file-missing" {
		t.Errorf("got %q", v.ID)
	}
}

// TestAFileThatIsNoProgramIsNotBlamedOnItsMain has what preflights of real Flink answered.
func TestAFileThatIsNoProgramIsNotBlamedOnItsMain(t *testing.T) {
	const invocation = "org.apache.flink.client.program.ProgramInvocationException"
	for _, c := range []struct {
		cause flink.Cause
		want  string
	}{
		{flink.Cause{Top: invocation, Class: "java.util.zip.ZipException", Message: "zip END header not found"}, "jar-damaged"},
		{flink.Cause{Class: "java.util.zip.ZipException", Message: "zip file is empty"}, "jar-damaged"},
		{flink.Cause{Class: invocation, Message: "The given program class does not have a main(String[]) method."}, "no-main"},
		{flink.Cause{Top: invocation, Class: "java.util.zip.ZipException", Message: "invalid entry size in the program's own data"}, "main-failed"},
	} {
		if v := failure.ClassifyCause(&c.cause, failure.AtStart); v.ID != c.want || v.Kind != failure.Permanent {
			t.Errorf("%s: %+v, want %s", c.cause.String(), v, c.want)
		}
	}
}

func TestAnUnknownFailureIsTheCallersChoice(t *testing.T) {
	v := failure.Classify(failure.Parse("com.example.Broken: no"), failure.AtRestore)
	if v.Kind != failure.Unknown || v.Or(failure.Permanent) != failure.Permanent || v.Or(failure.Transient) != failure.Transient {
		t.Errorf("got %+v", v)
	}
	if v := failure.ClassifyCause(nil, failure.AtRunning); v != (failure.Verdict{}) {
		t.Errorf("no cause: got %+v", v)
	}
}

func TestEachRowSaysWhatItMeansAndHasSomethingToMatch(t *testing.T) {
	for _, r := range failure.Rows() {
		if r.ID == "" || r.Kind == failure.Unknown || len(r.Sentence) < 20 || strings.HasSuffix(r.Sentence, ".") {
			t.Errorf("row %+v", r)
		}
		if len(r.Classes) == 0 && len(r.Texts) == 0 {
			t.Errorf("row %s matches everything", r.ID)
		}
	}
}
