package flink_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
)

func anyRun(t *rapid.T, label string) flink.Run {
	return flink.Run{
		UID:  rapid.SampledFrom([]string{"a", "b", "a-t1", "0f3c"}).Draw(t, label+" uid"),
		Term: rapid.Int32Range(1, 12).Draw(t, label+" term"),
		Run:  rapid.Int32Range(1, 12).Draw(t, label+" run"),
	}
}

func TestIDsOfDifferentRunsAndStepsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyRun(t, "a"), anyRun(t, "b")
		ids := map[string]string{}
		for _, r := range []flink.Run{a, b} {
			for name, id := range map[string]string{
				"job": r.JobID(), "stop 0": r.TriggerID("stop", 0), "stop 1": r.TriggerID("stop", 1), "stop 10": r.TriggerID("stop", 10), "job/0": r.TriggerID("job", 0),
			} {
				if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
					t.Fatalf("%s of %v is %q, no 32 hex digits", name, r, id)
				}
				what := r.UID + "/" + r.String() + " " + name
				if other, ok := ids[id]; ok && other != what {
					t.Fatalf("%s and %s have one id", other, what)
				}
				ids[id] = what
			}
		}
		if a == b && a.JobID() != b.JobID() {
			t.Fatal("one run has two ids")
		}
	})
}

func TestRunsAreOrderedByTermThenRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyRun(t, "a"), anyRun(t, "b")
		b.UID = a.UID
		later := a.Term*100+a.Run < b.Term*100+b.Run
		if a.Before(b) != later {
			t.Fatalf("%s before %s: %v", a, b, a.Before(b))
		}
	})
}

func TestTheNameOfARunIsStable(t *testing.T) {
	r := flink.Run{UID: "7f", Term: 2, Run: 4}
	if r.String() != "t2/r4" || r.Name() != "7f-t2-r4" || r.IsZero() || !(flink.Run{UID: "7f"}).IsZero() {
		t.Errorf("%q, %q", r.String(), r.Name())
	}
	// An id that changes between versions would lose every running job: these are for ever.
	if got := r.JobID(); got != "9955eea6f1a13f29998246299f869436" {
		t.Errorf("job id is %s", got)
	}
	if got := r.TriggerID("stop", 3); got != "2e812a9041a1eaab15ca5cd141a8c6b2" {
		t.Errorf("trigger id is %s", got)
	}
}

func TestNormalizePath(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"/a/b":                            "file:/a/b",
		"/a/b/":                           "file:/a/b",
		"file:/a/b":                       "file:/a/b",
		"file:///a/b":                     "file:/a/b",
		"file:/a/b/_metadata":             "file:/a/b",
		"file:///a/chk-3/_metadata/":      "file:/a/chk-3",
		"s3://bucket/a/b":                 "s3://bucket/a/b",
		"s3://bucket/a/savepoint-1-2/":    "s3://bucket/a/savepoint-1-2",
		"s3://bucket/a/chk-7/_metadata":   "s3://bucket/a/chk-7",
		"s3://bucket/a_metadata":          "s3://bucket/a_metadata",
		"hdfs://nn:8020/flink/_metadata/": "hdfs://nn:8020/flink",
	} {
		got := flink.NormalizePath(in)
		if got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if again := flink.NormalizePath(got); again != got {
			t.Errorf("%q becomes %q and then %q", in, got, again)
		}
	}
}

func TestCheckpointID(t *testing.T) {
	for path, want := range map[string]int64{
		"file:/a/chk-12": 12, "/a/b/chk-1/_metadata": 1, "s3://b/x/chk-0": 0,
		"file:/a/chk-": -1, "file:/a/chk-1x": -1, "file:/a/savepoint-1": -1, "": -1, "/a/chk-3/shared": -1, "/a/chk--1": -1,
		"/a/chk-9999999999999999999": -1,
	} {
		n, ok := flink.CheckpointID(path)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d, want %d", path, n, want)
		}
	}
}
