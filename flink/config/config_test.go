package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

func launch(change func(*flink.Spec)) flink.Launch {
	s := flink.Default(flink.Spec{
		FlinkVersion: "2.3", Parallelism: 3,
		Jar:           flink.Jar{URI: "local:///opt/flink/usrlib/clicks.jar", EntryClass: "com.example.Clicks"},
		Checkpointing: flink.Checkpointing{Interval: "1s"},
		JobManager:    flink.Resources{CPU: "500m", Memory: "512Mi"},
		TaskManager:   flink.TaskManager{Resources: flink.Resources{CPU: "1500m", Memory: "1Gi"}, Slots: 2},
		FlinkConfiguration: map[string]string{
			"restart-strategy.type":                   "fixed-delay",
			"restart-strategy.fixed-delay.attempts":   "3",
			"pipeline.name":                           `clicks: "all" of them`,
			"execution.checkpointing.dir":             "file:///elsewhere",
			"high-availability.type":                  "zookeeper",
			"execution.checkpointing.num-retained":    "5",
			"pipeline.global-job-parameters.greeting": "héllo\n\tthere\\",
		},
	})
	if change != nil {
		change(&s)
	}
	return flink.Launch{Run: flink.Run{UID: "u1", Term: 2, Run: 3}, Tenant: "default", Name: "clicks", Spec: s}
}

func place(version string) config.Place {
	return config.Place{
		FlinkVersion: version, StateRoot: "file:///srv/state", Upload: "/srv/agent/runs/u1-t2-r3/upload",
		Ports: config.Ports{REST: 20001, RPC: 20002, Blob: 20003},
	}
}

func render(c config.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# config.yaml\n%s\n# directories\n%+v\n", c.YAML, c.Dirs)
	i := config.Instance{ID: "tm-1-1", Java: "java", ClassPath: "LIB/*", ConfDir: "/conf", TmpDir: "/tmp/x", LogFile: "/logs/x.log"}
	for _, p := range []config.Process{c.JobManager, c.TaskManager} {
		fmt.Fprintf(&b, "\n# command\n%s\n", strings.Join(p.Command(i), "\n"))
	}
	return b.String()
}

func TestGoldenFiles(t *testing.T) {
	for _, version := range []string{"1.20.5", "2.3.0"} {
		t.Run(version, func(t *testing.T) {
			c, err := config.For(launch(nil), place(version))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", version+".golden")
			got := render(c)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func TestAdaptiveSchedulerKeysAreThoseOfTheVersion(t *testing.T) {
	for version, want := range map[string]string{
		"1.20.5": "jobmanager.adaptive-scheduler.scaling-interval.min",
		"2.3.0":  "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
	} {
		c, err := config.For(launch(nil), place(version))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{
			"jobmanager.adaptive-scheduler.scaling-interval.min",
			"jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
		} {
			if has := strings.Contains(c.YAML, key); has != (key == want) {
				t.Errorf("Flink %s: %s is there: %t", version, key, has)
			}
		}
	}
}

func TestRefusalsNameTheFieldOfTheSpec(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*flink.Spec)
		version string
		tenant  string
		want    string
	}{
		"TaskManager too small": {change: func(s *flink.Spec) { s.TaskManager.Memory = "200Mi" }, want: "spec.taskManager.memory is 200 MiB: Flink itself needs at least 256 MiB"},
		"JobManager too small":  {change: func(s *flink.Spec) { s.JobManager.Memory = "64Mi" }, want: "spec.jobManager.memory is 64 MiB"},
		"too small for managed state": {change: func(s *flink.Spec) {
			s.TaskManager.Memory = "256Mi"
			s.FlinkConfiguration["state.backend.type"] = "rocksdb"
		}, want: "spec.taskManager.memory is 256 MiB"},
		"no memory":               {change: func(s *flink.Spec) { s.TaskManager.Memory = "lots" }, want: "spec.taskManager.memory"},
		"old Flink":               {version: "1.17.2", want: "spec.flinkVersion"},
		"tenant out of its place": {tenant: "..", want: "tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			l, p := launch(tc.change), place("2.3.0")
			if tc.version != "" {
				p.FlinkVersion = tc.version
			}
			if tc.tenant != "" {
				l.Tenant = tc.tenant
			}
			if _, err := config.For(l, p); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestDirsKeepRunsApart(t *testing.T) {
	run := flink.Run{UID: "u1", Term: 2, Run: 3}
	want := config.Directories{
		Checkpoints: "file:///srv/state/default/u1/t2/r3/checkpoints", Savepoints: "file:///srv/state/default/u1/savepoints",
		HA: "file:///srv/state/default/u1/t2/r3/ha",
	}
	for _, root := range []string{"file:///srv/state", "file:///srv/state/", "/srv/state", "/srv/state/"} {
		if got := config.Dirs(root, "default", run); got != want {
			t.Errorf("root %q: %+v, want %+v", root, got, want)
		}
	}
	if got := config.Dirs("s3://bucket/prefix/", "default", run).Checkpoints; got != "s3://bucket/prefix/default/u1/t2/r3/checkpoints" {
		t.Errorf("object store: %s", got)
	}
}

// TestEveryKeyHasOneValue reads the written YAML back: a duplicate key or a
// value that YAML understands differently shows.
func TestEveryKeyHasOneValueAndSurvivesYAML(t *testing.T) {
	keys := rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,8}(\.[a-z0-9-]{1,8}){0,3}`),
		rapid.SampledFrom([]string{"rest.port", "restart-strategy.type", "heartbeat.timeout", "taskmanager.memory.task.heap.size", "high-availability", "execution.checkpointing.dir"}),
	)
	values := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"null", "~", "0x10", "1e3", "0755", "- a", "a: b", "# c", "yes", "{", "'", `"`, ""}))
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.MapOf(keys, values).Draw(t, "flinkConfiguration")
		version := rapid.SampledFrom([]string{"1.20.5", "2.3.0"}).Draw(t, "version")
		for _, backend := range []string{"state.backend", "state.backend.type"} {
			delete(given, backend)
		}
		c, err := config.For(launch(func(s *flink.Spec) { s.FlinkConfiguration = given }), place(version))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := yaml.Unmarshal([]byte(c.YAML), &got); err != nil {
			t.Fatalf("%v\n%s", err, c.YAML)
		}
		for key, value := range given {
			_, reserved := flink.ReservedKey(key)
			if s := fmt.Sprint(got[key]); !reserved && s != value && strings.ToValidUTF8(value, "\uFFFD") == value {
				t.Fatalf("%s: %q was written, %q came back", key, value, s)
			}
			if reserved && fmt.Sprint(got[key]) == value && value != "" && got[key] != nil && key != "rest.port" {
				t.Fatalf("reserved %s was taken from the spec", key)
			}
		}
		if got["execution.checkpointing.dir"] != c.Dirs.Checkpoints || fmt.Sprint(got["rest.port"]) != "20001" {
			t.Fatalf("a fixed key was lost:\n%s", c.YAML)
		}
	})
}

func TestMemoryPartsAreNeverMoreThanDeclared(t *testing.T) {
	const mib = 1 << 20
	rapid.Check(t, func(t *rapid.T) {
		managed := rapid.Bool().Draw(t, "managed")
		declared := rapid.Int64Range(flink.MinTaskManagerMemory, 64<<30).Draw(t, "taskManager")
		if tm, err := config.DivideTaskManager(declared, managed); err == nil {
			for _, part := range []int64{tm.TaskHeap, tm.FrameworkHeap, tm.FrameworkOffHeap, tm.Network, tm.Managed, tm.Metaspace, tm.Overhead} {
				if part <= 0 {
					t.Fatalf("a part is missing: %+v", tm)
				}
			}
			if tm.Sum() > declared/mib {
				t.Fatalf("%+v is %d of %d MiB", tm, tm.Sum(), declared/mib)
			}
		} else if !managed {
			t.Fatalf("validated memory was refused: %v", err)
		}
		declared = rapid.Int64Range(flink.MinJobManagerMemory, 64<<30).Draw(t, "jobManager")
		jm, err := config.DivideJobManager(declared)
		if err != nil || jm.Sum() > declared/mib || min(jm.Heap, jm.Direct, jm.Metaspace, jm.Overhead) <= 0 {
			t.Fatalf("%+v is %d of %d MiB: %v", jm, jm.Sum(), declared/mib, err)
		}
	})
}

// TestTaskManagerFlagsAgree holds the JVM's limits against what Flink is told.
func TestTaskManagerFlagsAgree(t *testing.T) {
	for _, memory := range []string{"256Mi", "384Mi", "512Mi", "1Gi", "4Gi"} {
		c, err := config.For(launch(func(s *flink.Spec) { s.TaskManager.Memory = memory }), place("2.3.0"))
		if err != nil {
			t.Fatal(err)
		}
		size := func(prefix string, words []string) (n int) {
			for _, w := range words {
				if v, ok := strings.CutPrefix(w, prefix); ok {
					n, _ = strconv.Atoi(strings.TrimSuffix(v, "m"))
				}
			}
			return n
		}
		args, jvm := c.TaskManager.Args, c.TaskManager.JVM
		heap := size("taskmanager.memory.framework.heap.size=", args) + size("taskmanager.memory.task.heap.size=", args)
		direct := size("taskmanager.memory.framework.off-heap.size=", args) + size("taskmanager.memory.network.max=", args)
		if heap == 0 || size("-Xmx", jvm) != heap {
			t.Errorf("%s: -Xmx%dm, Flink was told %d", memory, size("-Xmx", jvm), heap)
		}
		if direct == 0 || size("-XX:MaxDirectMemorySize=", jvm) != direct {
			t.Errorf("%s: direct %d, Flink was told %d", memory, size("-XX:MaxDirectMemorySize=", jvm), direct)
		}
		if m := size("taskmanager.memory.jvm-metaspace.size=", args); m == 0 || m != size("-XX:MaxMetaspaceSize=", jvm) {
			t.Errorf("%s: metaspace %d, Flink was told %d", memory, size("-XX:MaxMetaspaceSize=", jvm), m)
		}
	}
}
