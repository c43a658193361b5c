package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

func jobs() Form[*flinkv1.Job] {
	return Form[*flinkv1.Job]{
		APIVersion: "waterwheel.dev/v1", Kind: "Job", Ignored: []string{"status"},
		New: func() *flinkv1.Job { return new(flinkv1.Job) },
	}
}

const head = "apiVersion: waterwheel.dev/v1\nkind: Job\n"

func TestReadTakesYAMLAndJSONAlike(t *testing.T) {
	want := flinkv1.Job_builder{
		ApiVersion: "waterwheel.dev/v1", Kind: "Job",
		Metadata: flinkv1.Metadata_builder{Name: "clicks", Labels: map[string]string{"team": "web"}, Generation: proto.Int32(0)}.Build(),
		Spec: flinkv1.JobSpec_builder{
			Cluster: "eu-1", FlinkVersion: "2.3", Parallelism: 2,
			Jar:                flinkv1.Jar_builder{Uri: "local:///x.jar", Args: []string{"--rate", "100"}}.Build(),
			FlinkConfiguration: map[string]string{"a.b": "1"},
		}.Build(),
	}.Build()
	for name, in := range map[string]string{
		"yaml": head + `metadata: {name: clicks, labels: {team: web}, generation: 0}
spec:
  cluster: eu-1
  flinkVersion: "2.3"
  jar: # the program
    uri: "local:///x.jar"
    args: [--rate, "100"]
  parallelism: 2
  image:
  flinkConfiguration:
    a.b: '1'
status: {state: Running, anything: [goes, here]}
`,
		"json": "{\n\t\"apiVersion\": \"waterwheel.dev/v1\", \"kind\": \"Job\", \"metadata\": {\"name\": \"clicks\", \"labels\": {\"team\": \"web\"}, \"generation\": 0},\n" +
			"\t\"spec\": {\"cluster\": \"eu-1\", \"flinkVersion\": \"2.3\", \"jar\": {\"uri\": \"local:///x.jar\", \"args\": [\"--rate\", \"100\"]}, \"parallelism\": 2," +
			" \"flinkConfiguration\": {\"a.b\": \"1\"}}\n}\n",
	} {
		docs, err := jobs().Read("f", []byte(in))
		if err != nil || len(docs) != 1 {
			t.Fatalf("%s: %d documents, %v", name, len(docs), err)
		}
		if diff := cmp.Diff(want, docs[0].Value, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadLosesNoDocument(t *testing.T) {
	in := "# first\n---\n---\n# only a comment\n---\n" + head + "metadata: {name: a}\n--- # marked\n" + head + "metadata: {name: b}\r\n---\r\n" +
		"items:\n- " + strings.ReplaceAll(head, "\n", "\n  ") + "metadata: {name: c}\n"
	docs, err := jobs().Read("f", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.Value.GetMetadata().GetName()+" "+d.Where("metadata.name"))
	}
	if want := []string{"a f:8:12", "b f:12:12", "c f:17:14"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadNamesEveryFaultWithItsPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"near miss":      {head + "spec:\n  paralelism: 2\n", []string{`f:4:3: unknown field "paralelism" (did you mean "parallelism"?)`}},
		"snake case":     {head + "spec:\n  flink_version: x\n", []string{`f:4:3: unknown field "flink_version" (did you mean "flinkVersion"?)`}},
		"nothing near":   {head + "zzzzzz: 1\n", []string{`f:3:1: unknown field "zzzzzz"`}},
		"number as text": {head + "spec: {flinkVersion: 2.3}\n", []string{`f:3:22: spec.flinkVersion: want a text, got the number 2.3: put it in quotes, "2.3"`}},
		"text as number": {head + "spec:\n  parallelism: \"2\"\n", []string{`f:4:16: spec.parallelism: want a whole number of 32 bits, got the text "2": no quotes around it`}},
		"fraction":       {head + "spec: {parallelism: 1.5}\n", []string{"f:3:21: spec.parallelism: want a whole number of 32 bits, got the number 1.5"}},
		"overflow":       {head + "spec: {parallelism: 4294967297}\n", []string{"f:3:21: spec.parallelism: want a whole number of 32 bits, got the number 4294967297"}},
		"zero":           {head + "spec: {parallelism: 0}\n", []string{`f:3:21: spec.parallelism: "0": cannot be asked for: leave the field out for its default`}},
		"list for map":   {head + "spec: [1]\n", []string{"f:3:7: spec: want a mapping, got a list"}},
		"map for list":   {head + "spec: {jar: {args: {a: b}}}\n", []string{"f:3:20: spec.jar.args: want a list, got a mapping"}},
		"argument":       {head + "spec: {jar: {args: [--n, 5]}}\n", []string{`f:3:26: spec.jar.args[1]: want a text, got the number 5: put it in quotes, "5"`}},
		"configuration":  {head + "spec: {flinkConfiguration: {a.b: true}}\n", []string{`f:3:34: spec.flinkConfiguration["a.b"]: want a text, got the truth value true: put it in quotes, "true"`}},
		"twice":          {head + "spec:\n  cluster: a\n  cluster: b\n", []string{`f:5:3: mapping key "cluster" already defined at [4:3]`}},
		"alias":          {head + "metadata: {name: &x a}\nspec: {cluster: *x}\n", []string{"f:3:18: metadata.name: anchors", "f:4:17: spec.cluster: anchors"}},
		"merge":          {head + "spec:\n  <<: {cluster: a}\n", []string{"f:4:3: merge keys are not taken"}},
		"tag":            {head + "spec: {cluster: !!str a}\n", []string{"f:3:17: spec.cluster: tags are not taken"}},
		"no kind":        {"apiVersion: waterwheel.dev/v1\n", []string{"f:1:1: kind is missing: want Job"}},
		"other kind":     {"apiVersion: waterwheel.dev/v1\nkind: Pod\nspec: {containers: []}\n", []string{`f:2:7: kind: want Job, got the text "Pod"`}},
		"other version":  {"apiVersion: v1\nkind: Job\n", []string{`f:1:13: apiVersion: want waterwheel.dev/v1, got the text "v1"`}},
		"no yaml":        {head + "spec: [\n", []string{"f:3:7: "}},
		"tab":            {head + "spec:\n\tcluster: a\n", []string{"f:4:1: found character"}},
		"not UTF-8":      {head + "metadata: {name: a\xffb}\n", []string{"f:3:19: not UTF-8: the byte 0xff"}},
		"deep lists":     {head + "spec: " + strings.Repeat("[", 1_000_000), []string{"f:3:71: nested deeper than 64 levels"}},
		"deep mappings":  {head + "spec: " + strings.Repeat("{a: ", 100_000), []string{"f:3:263: nested deeper than 64 levels"}},
		"deep entries":   {head + "spec:\n" + strings.Repeat("- ", 100_000), []string{"f:4:129: nested deeper than 64 levels"}},
		"text":           {"hello\n", []string{`f:1:1: want a Job, got the text "hello"`}},
		"item":           {"items: [3]\n", []string{"f:1:9: want a Job, got the number 3"}},
		"bad time":       {head + "metadata: {createdAt: yesterday}\n", []string{"f:3:23: metadata.createdAt: want a time such as"}},
		"second document, all at once": {
			head + "---\n" + head + "spec:\n  jra: {}\n  clutser: x\n",
			[]string{`f:7:3: unknown field "jra" (did you mean "jar"?)`, `f:8:3: unknown field "clutser" (did you mean "cluster"?)`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := jobs().Read("f", []byte(tc.in))
			faults, ok := errors.AsType[Faults](err)
			if !ok || docs != nil || len(faults) != len(tc.want) {
				t.Fatalf("got %v, %v, want %q", docs, err, tc.want)
			}
			for i, f := range faults {
				if !strings.HasPrefix(f.Error(), tc.want[i]) || strings.Contains(f.Error(), "\n") {
					t.Errorf("got  %s\nwant %s", f, tc.want[i])
				}
			}
		})
	}
}

func TestLoadReadsFilesDirectoriesAndStdin(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.yml", head+"metadata: {name: b}\n")
	write("a.yaml", head+"metadata: {name: a}\n")
	write("c.json", `{"apiVersion": "waterwheel.dev/v1", "kind": "Job", "metadata": {"name": "c"}}`)
	write("readme.md", "not a manifest")
	docs, err := jobs().Load([]string{dir, "-"}, strings.NewReader(head+"metadata: {name: d}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		names = append(names, d.Value.GetMetadata().GetName())
	}
	if want := []string{"a", "b", "c", "d"}; !cmp.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}

	write("d.yaml", "# nothing\n")
	write("e.yaml", head+"x: 1\n")
	_, err = jobs().Load([]string{dir}, nil)
	faults, ok := errors.AsType[Faults](err)
	if !ok || len(faults) != 2 || !strings.HasSuffix(faults[0].Error(), "d.yaml: has no Job in it") || !strings.Contains(faults[1].Error(), `e.yaml:3:1: unknown field "x"`) {
		t.Errorf("faults of two files: %v", err)
	}
	if _, err := jobs().Load([]string{filepath.Join(dir, "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := jobs().Load([]string{t.TempDir()}, nil); err == nil {
		t.Error("empty directory was taken")
	}
}

func anyJob() *rapid.Generator[*flinkv1.Job] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"true", "null", "1", "1.5", "-", "- a", "a: b", "a #b", "#", "~", "", " ", "x:", "yes", "2026-01-01", "0x1", "|", "a\nb\n", "\t", "'", `"`, `\`,
		"{a}", "&a", "*a", "!a", "%a", "@a", "`a", "---", "...", "<<", "é", "\u2028", "\u0085", "\x7f", "😀", "=", "?", "? a", "NaN", ".inf",
	}))
	return rapid.Custom(func(t *rapid.T) *flinkv1.Job {
		at := timestamppb.New(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999).Draw(t, "ms")*1e6))
		return flinkv1.Job_builder{
			ApiVersion: "waterwheel.dev/v1", Kind: "Job",
			Metadata: flinkv1.Metadata_builder{
				Name: text.Draw(t, "name"), Labels: rapid.MapOfN(text, text, 0, 4).Draw(t, "labels"), Uid: text.Draw(t, "uid"),
				Generation: new(rapid.Int32().Draw(t, "generation")), Revision: text.Draw(t, "revision"), CreatedAt: at,
			}.Build(),
			Spec: flinkv1.JobSpec_builder{
				Cluster: text.Draw(t, "cluster"), Parallelism: rapid.Int32().Draw(t, "parallelism"), Jar: flinkv1.Jar_builder{
					Args: rapid.SliceOfN(text, 0, 4).Draw(t, "args"),
				}.Build(), StateStorage: &flinkv1.StateStorage{},
				FlinkConfiguration: rapid.MapOfN(text, text, 0, 4).Draw(t, "configuration"),
			}.Build(),
		}.Build()
	})
}

func TestWrittenFormsAreReadBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyJob().Draw(t, "job")
		for name, out := range map[string][]byte{"json": JSON(want), "yaml": YAML(want)} {
			docs, err := jobs().Read("f", out)
			if err != nil || len(docs) != 1 {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			if !proto.Equal(want, docs[0].Value) {
				t.Fatalf("%s:\n%s\n%s", name, cmp.Diff(want, docs[0].Value, protocmp.Transform()), out)
			}
		}
		got := new(flinkv1.Job)
		if err := protojson.Unmarshal(JSON(want), got); err != nil || !proto.Equal(want, got) {
			t.Fatalf("protobuf's reader: %v\n%s", err, JSON(want))
		}
		theirs, err := protojson.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := jobs().Read("f", theirs)
		if err != nil || len(docs) != 1 || !proto.Equal(want, docs[0].Value) {
			t.Fatalf("protobuf's form: %v\n%s", err, theirs)
		}
	})
}

func TestStatusIsWrittenAsProtobufWritesIt(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC))
	job := flinkv1.Job_builder{Status: flinkv1.JobStatus_builder{
		State: "Running", Run: 4, AsOf: at,
		Flink:      flinkv1.FlinkStatus_builder{JobId: "ab", TasksRunning: 1, StartTime: at}.Build(),
		Restored:   flinkv1.Restored_builder{Proven: true}.Build(),
		Conditions: []*flinkv1.Condition{flinkv1.Condition_builder{Type: "Ready", Status: "True"}.Build()},
		Links:      flinkv1.Links_builder{Logs: []string{"/a", "/b"}}.Build(),
	}.Build()}.Build()
	got := new(flinkv1.Job)
	if err := protojson.Unmarshal(JSON(job), got); err != nil || !proto.Equal(job, got) {
		t.Fatalf("%v\n%s", err, JSON(job))
	}
	want := `status:
  state: Running
  run: 4
  flink:
    jobId: ab
    tasksRunning: 1
    startTime: "2026-03-04T05:06:07.008Z"
  restored:
    proven: true
  asOf: "2026-03-04T05:06:07.008Z"
  conditions:
  - type: Ready
    status: "True"
  links:
    logs:
    - /a
    - /b
`
	if diff := cmp.Diff(want, string(YAML(job))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := string(ListJSON([]*flinkv1.Job{})); got != "{\n  \"items\": []\n}\n" {
		t.Errorf("empty list: %q", got)
	}
	if got := string(ListYAML([]*flinkv1.Job{flinkv1.Job_builder{Kind: "Job"}.Build()})); got != "items:\n- kind: Job\n" {
		t.Errorf("list: %q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "metadata: {name: a}\nspec: {jar: {args: [a]}}\n"))
	f.Add([]byte("---\n--- x\n? a\n: b\n"))
	f.Add([]byte("items: [{}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := jobs().Read("f", data)
		if err != nil && docs != nil {
			t.Fatal("documents beside an error")
		}
		for _, d := range docs {
			if proto.Size(d.Value) < 0 || d.Line < 1 {
				t.Fatalf("document at line %d", d.Line)
			}
		}
	})
}
