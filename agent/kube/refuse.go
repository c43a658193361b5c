package kube

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// refuse makes a definite no.
func refuse(kind flink.RefusalKind, format string, args ...any) *flink.Refusal {
	return &flink.Refusal{Kind: kind, Cause: flink.Cause{Message: fmt.Sprintf(format, args...)}}
}

// unseen says why a namespace cannot be looked into, and what to do where that is for people. A namespace that is not there
// looks like one without rights: they went with it.
func unseen(namespace string, err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return fmt.Errorf("the agent may not look into namespace %s: it, or Role or RoleBinding waterwheel-agent in it, is not there; `helm upgrade` of the agent's chart makes them again (%w)", namespace, err)
	}
	return fmt.Errorf("namespace %s cannot be seen: %w", namespace, err)
}

// answered turns the API server's answer about an object into what decisions
// differ by: a definite no is a *flink.Refusal, everything else may be tried again.
func answered(what, namespace string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return refuse(flink.RefusedTenant, "namespace %s is being deleted", namespace)
	case apierrors.IsNotFound(err):
		return refuse(flink.RefusedTenant, "namespace %s is not there; the agent's chart makes it, for the tenants that its value tenants[] names", namespace)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return refuse(flink.RefusedNoRoom, "%s", limited(err.Error()))
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot ") && strings.Contains(err.Error(), ` resource "`):
		return refuse(flink.RefusedTransient, "the agent lacks a right that its chart gives it: %s", limited(err.Error()))
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return refuse(flink.RefusedPlace, "%s is not taken by this cluster: %s", what, limited(err.Error()))
	}
	return fmt.Errorf("write %s: %w", what, err)
}

// written is answered for an object as it was sent: one that is too large is so at every try.
func written(o render.Object, namespace string, err error) error {
	if err == nil || !tooLarge(err) {
		return answered(title(o), namespace, err)
	}
	size := "unknown size"
	if text, failed := json.Marshal(o); failed == nil {
		size = fmt.Sprintf("%d bytes", len(text))
	}
	return refuse(flink.RefusedPlace, "%s, of %s, is too large for this cluster; the job's spec, or flink.settings and podTemplate of the agent's chart, make it so: %s",
		title(o), size, limited(err.Error()))
}

// tooLarge reports whether the API server, or the etcd behind it, takes no object of that size.
func tooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(err.Error(), "etcdserver: request is too large") || strings.Contains(err.Error(), "trying to send message larger than max")
}
