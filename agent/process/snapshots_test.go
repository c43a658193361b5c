package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/agent/process"
	"github.com/waterwheel-io/waterwheel/flink"
)

// whole is how each completed _metadata begins: magic number and version.
const whole = "\x49\x60\x67\x2d\x00\x00\x00\x06state"

func put(t interface {
	Helper()
	Fatal(args ...any)
}, path, text string,
) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNewestIsTheHighestCompleteCheckpointOfTheRun(t *testing.T) {
	run := flink.Run{UID: "u1", Term: 1, Run: 2}
	root, tries := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		tries++
		dir := filepath.Join(root, fmt.Sprint(tries))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			rt.Fatal(err)
		}
		want := int64(0)
		kinds := []string{whole, "", "\x49", "not a snapshot", "none", "directory", "in progress"}
		for _, n := range rapid.SliceOfNDistinct(rapid.Int64Range(1, 1200), 0, 12, rapid.ID).Draw(rt, "checkpoints") {
			kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
			chk := filepath.Join(dir, run.JobID(), fmt.Sprintf("chk-%d", n))
			switch kind {
			case whole:
				want = max(want, n)
				put(rt, filepath.Join(chk, "_metadata"), whole)
			case "none":
				put(rt, filepath.Join(chk, "some-state"), whole)
			case "directory":
				put(rt, filepath.Join(chk, "_metadata", "x"), whole)
			case "in progress":
				put(rt, filepath.Join(chk, "._metadata.inprogress.1"), whole)
			default:
				put(rt, filepath.Join(chk, "_metadata"), kind)
			}
		}
		for _, other := range []string{"shared/x", "taskowned/x", "chk-x/_metadata", "chk-/_metadata", "xchk-5000/_metadata"} {
			put(rt, filepath.Join(dir, run.JobID(), other), whole)
		}
		put(rt, filepath.Join(dir, flink.Run{UID: "u1", Term: 1, Run: 1}.JobID(), "chk-9999", "_metadata"), whole)
		got, err := process.Snapshots{}.Newest(t.Context(), run, "file://"+dir)
		if err != nil {
			rt.Fatal(err)
		}
		if got.ID != want || got.IsZero() != (want == 0) {
			rt.Fatalf("newest %+v, want %d", got, want)
		}
		if want == 0 {
			return
		}
		path := fmt.Sprintf("file:%s/%s/chk-%d", dir, run.JobID(), want)
		if got.Path != path || got.Kind != flink.KindCheckpoint || got.Run != run || time.Since(got.CompletedAt).Abs() > time.Hour {
			rt.Fatalf("newest %+v, want %s", got, path)
		}
		if there, err := (process.Snapshots{}).Exists(t.Context(), got.Path); err != nil || !there {
			rt.Fatalf("%s exists: %t, %v", got.Path, there, err)
		}
	})
}

func TestNewestOfARunWithoutAJobIsNone(t *testing.T) {
	run, dir := flink.Run{UID: "u1", Term: 1, Run: 1}, t.TempDir()
	if got, err := (process.Snapshots{}).Newest(t.Context(), run, dir); err != nil || !got.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := (process.Snapshots{}).Newest(t.Context(), run, filepath.Join(dir, "unmounted")); err == nil {
		t.Errorf("storage that is gone reads as %+v", got)
	}
	if _, err := (process.Snapshots{}).Newest(t.Context(), run, "s3://bucket/x"); err == nil {
		t.Error("an object store was read as files")
	}
}

func TestExists(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "good", "_metadata"), whole)
	put(t, filepath.Join(dir, "torn", "_metadata"), "\x49\x60")
	put(t, filepath.Join(dir, "other", "_metadata"), "something else")
	put(t, filepath.Join(dir, "file"), whole)
	for path, want := range map[string]bool{
		"file://" + dir + "/good": true, "file:" + dir + "/good/_metadata": true, dir + "/good/": true,
		dir + "/torn": false, dir + "/other": false, dir + "/none": false, dir + "/file": false, dir: false,
	} {
		if got, err := (process.Snapshots{}).Exists(t.Context(), path); err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", path, got, err, want)
		}
	}
	if _, err := (process.Snapshots{}).Exists(t.Context(), "s3://bucket/x"); err == nil {
		t.Error("an object store was read as files")
	}
}

func TestSavepointIsTheCompleteOne(t *testing.T) {
	run, dir := flink.Run{UID: "u1", Term: 1, Run: 1}, t.TempDir()
	find := func() flink.Snapshot {
		t.Helper()
		s, err := process.Snapshots{}.Savepoint(t.Context(), run, "file://"+dir+"/stop")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := find(); !s.IsZero() {
		t.Errorf("before anything: %+v", s)
	}
	put(t, filepath.Join(dir, "stop", "savepoint-1-torn", "_metadata"), "")
	put(t, filepath.Join(dir, "stop", "savepoint-2-open", "x"), whole)
	if s := find(); !s.IsZero() {
		t.Errorf("before one is complete: %+v", s)
	}
	put(t, filepath.Join(dir, "stop", "savepoint-3", "_metadata"), whole)
	if s := find(); s.Path != "file:"+dir+"/stop/savepoint-3" || s.Kind != flink.KindSavepoint || s.Run != run || s.CompletedAt.IsZero() {
		t.Errorf("found %+v", s)
	}
}
