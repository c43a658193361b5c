package plan

import (
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/flink"
)

func TestWhatAProcessWaitsForHasAReason(t *testing.T) {
	for words, want := range map[string]string{
		"ImagePull: flink:x cannot be pulled":                                        "ImagePull",
		"image flink:x cannot be pulled: not found":                                  "ImagePull",
		"no node takes it: 0/1 nodes are available: 1 Insufficient memory.":          "Unschedulable",
		"its pod may not be made: pods \"a\" is forbidden: exceeded quota: compute":  "Quota",
		"its pod may not be made: violates PodSecurity":                              "PodRefused",
		"container jobmanager cannot be made: secret \"s3\" not found":               "ContainerConfig",
		"container jobmanager ends again and again, 4 times so far: it ended with 1": "CrashLoop",
		"its node n1 has not answered since 12:00:00Z":                               "NodeLost",
		"it is being ended on node n1 since 12:00:00Z":                               "Ending",
		"it has no pod yet":                    "Waiting",
		"two words: and more":                  "Waiting",
		"lower: and more":                      "Waiting",
		strings.Repeat("A", 41) + ": too long": "Waiting",
	} {
		if got := reasonOf(words); got != want {
			t.Errorf("%q: %s, want %s", words, got, want)
		}
	}
}

func TestTheJobManagersReasonIsToldFirstAndEachOnce(t *testing.T) {
	up := flink.ProcessRunning
	s := flink.RunObserved{
		JobManager: flink.Process{State: up, Waiting: "b"},
		TaskManagers: []flink.Process{
			{State: up, Waiting: "c"}, {State: up, Waiting: "a"}, {State: up, Waiting: "c"}, {State: up}, {State: flink.ProcessExited, Waiting: "d"},
		},
	}
	if got := strings.Join(waiting(s), " "); got != "b c a" {
		t.Errorf("told %s", got)
	}
	if n := working(s); n != 1 {
		t.Errorf("%d TaskManagers work, want 1", n)
	}
	if got := bounded(strings.Repeat("é", 500)); len(got) > waitingWords+len("…") || !strings.HasSuffix(got, "é…") {
		t.Errorf("bounded to %d bytes, %q", len(got), got[len(got)-8:])
	}
}
