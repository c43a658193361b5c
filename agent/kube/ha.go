package kube

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// leaderAnnotation is where Flink's leader elector keeps its record.
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

// handle is how every value begins that Flink keeps of a graph or a checkpoint: a serialized Java object, in Base64.
const handle = "rO0AB"

// The keys that Flink keeps graphs and checkpoints under. The two majors name the graph differently.
const (
	planKey       = "executionPlan-"
	graphKey      = "jobGraph-"
	checkpointKey = "checkpointID-"
)

// haOf reads a run's high availability data from its ConfigMaps; nil when there is none and none was meant to be. What
// was changed by hand so that no JobManager can read it counts as not there.
func haOf(run flink.Run, maps []*corev1.ConfigMap, meant bool) *flink.HAData {
	if len(maps) == 0 && !meant {
		return nil
	}
	ha := &flink.HAData{}
	for _, cm := range maps {
		damaged := damage(cm) != ""
		ha.Graph = ha.Graph || hasGraph(cm) && !damaged
		if cm.Name == render.CheckpointConfigMap(run) && !damaged {
			ha.Pointers = true
			ha.Newest = newestPointer(cm)
		}
		if t := renewed(cm); t.After(ha.Renewed) {
			ha.Renewed = t
		}
	}
	return ha
}

// hasGraph reports whether a JobManager would start a job by this ConfigMap.
func hasGraph(cm *corev1.ConfigMap) bool {
	for k := range cm.Data {
		if isGraph(k) {
			return true
		}
	}
	return false
}

func isGraph(key string) bool {
	return strings.HasPrefix(key, planKey) || strings.HasPrefix(key, graphKey)
}

// damage is the first key of a graph or a checkpoint whose value Flink did not write: a JobManager that starts fails at
// it. Empty: there is none.
func damage(cm *corev1.ConfigMap) string {
	first := ""
	for k, v := range cm.Data {
		if (isGraph(k) || strings.HasPrefix(k, checkpointKey)) && !strings.HasPrefix(v, handle) && (first == "" || k < first) {
			first = k
		}
	}
	return first
}

// newestPointer is the greatest number of a completed checkpoint on record, 0 without any. What Flink did not write does
// not count.
func newestPointer(cm *corev1.ConfigMap) int64 {
	var newest int64
	for k, v := range cm.Data {
		digits, ok := strings.CutPrefix(k, checkpointKey)
		if !ok || !strings.HasPrefix(v, handle) {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}

// renewed is when a leader last renewed its lease; zero when that cannot be read.
func renewed(cm *corev1.ConfigMap) time.Time {
	var record struct {
		RenewTime string `json:"renewTime"`
	}
	if err := json.Unmarshal([]byte(cm.Annotations[leaderAnnotation]), &record); err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, record.RenewTime)
	if err != nil {
		return time.Time{}
	}
	return t
}
