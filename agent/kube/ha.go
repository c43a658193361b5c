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

// haOf reads a run's high availability data from its ConfigMaps; nil when there is none and none was meant to be.
func haOf(run flink.Run, maps []*corev1.ConfigMap, meant bool) *flink.HAData {
	if len(maps) == 0 && !meant {
		return nil
	}
	ha := &flink.HAData{}
	for _, cm := range maps {
		ha.Graph = ha.Graph || hasGraph(cm)
		if cm.Name == render.CheckpointConfigMap(run) {
			ha.Pointers = true
			ha.Newest = newestPointer(cm)
		}
		if t := renewed(cm); t.After(ha.Renewed) {
			ha.Renewed = t
		}
	}
	return ha
}

// hasGraph reports whether a JobManager would start a job by this ConfigMap. The
// two majors of Flink name the graph differently.
func hasGraph(cm *corev1.ConfigMap) bool {
	for k := range cm.Data {
		if strings.HasPrefix(k, "executionPlan-") || strings.HasPrefix(k, "jobGraph-") {
			return true
		}
	}
	return false
}

// newestPointer is the greatest number of a completed checkpoint on record, 0 without any.
func newestPointer(cm *corev1.ConfigMap) int64 {
	var newest int64
	for k := range cm.Data {
		digits, ok := strings.CutPrefix(k, "checkpointID-")
		if !ok {
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
