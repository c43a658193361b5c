package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
)

// othersService reports whether a Service of that name belongs to another job here that has runs. Tenants may share a
// namespace and name jobs alike: to apply it in turns would be a fight without an end.
func (s *space) othersService(want *corev1.Service) bool {
	_, live, ok := s.live("Service", want.Name)
	if !ok {
		return false
	}
	of := live.GetLabels()[render.LabelUID]
	if of == "" || of == want.Labels[render.LabelUID] {
		return false
	}
	return slices.ContainsFunc(s.seen(of), func(x *seen) bool { return x.anchor != nil && x.anchor.DeletionTimestamp == nil })
}
