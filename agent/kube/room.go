package kube

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/flink"
)

// roomOf is what the tightest of a namespace's quotas leaves. missing is the
// declared memory of runs whose pods are not there yet: the quotas do not count it.
func roomOf(namespace string, quotas []*corev1.ResourceQuota, missing int64) flink.Room {
	var room flink.Room
	for _, q := range quotas {
		if !countsOurPods(q) {
			continue
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceLimitsMemory, corev1.ResourceRequestsMemory, corev1.ResourceMemory} {
			hard, ok := q.Spec.Hard[name]
			if !ok {
				continue
			}
			used := q.Status.Used[name]
			r := flink.Room{
				MemoryTotal: max(hard.Value(), 1), // nothing allowed is not unlimited
				MemoryUsed:  used.Value() + missing,
				Limit:       fmt.Sprintf("resource quota %s of namespace %s", q.Name, namespace),
			}
			if room.MemoryTotal == 0 || r.Free() < room.Free() {
				room = r
			}
		}
	}
	return room
}

// countsOurPods reports whether a quota applies to pods that run until they are
// ended, declare memory, and name no priority.
func countsOurPods(q *corev1.ResourceQuota) bool {
	if q.Spec.ScopeSelector != nil {
		return false
	}
	return !slices.ContainsFunc(q.Spec.Scopes, func(s corev1.ResourceQuotaScope) bool {
		return s != corev1.ResourceQuotaScopeNotTerminating && s != corev1.ResourceQuotaScopeNotBestEffort
	})
}

// memoryOf is the memory that a pod holds of its namespace's quotas.
func memoryOf(p *corev1.Pod) int64 {
	if ended(p) {
		return 0
	}
	var sum int64
	for _, c := range p.Spec.Containers {
		limit := c.Resources.Limits[corev1.ResourceMemory]
		sum += limit.Value()
	}
	return sum
}
