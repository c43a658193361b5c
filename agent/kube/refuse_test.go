package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/waterwheel-io/waterwheel/flink"
)

func TestAnObjectThatIsTooLargeIsRefusedByNameAndSize(t *testing.T) {
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "j1-t1-r1", Namespace: "team"},
		Data: map[string]string{"config.yaml": strings.Repeat("x", 2<<20)},
	}
	gr := schema.GroupResource{Resource: "configmaps"}
	for name, err := range map[string]error{
		"by the API server":       apierrors.NewRequestEntityTooLargeError("limit is 3145728"),
		"by something before it":  apierrors.NewGenericServerResponse(http.StatusRequestEntityTooLarge, "create", gr, cm.Name, "", 0, true),
		"by etcd":                 apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
		"by the client of etcd":   apierrors.NewInternalError(errors.New("rpc error: code = ResourceExhausted desc = trying to send message larger than max (3 vs. 2)")),
		"by one that is wrapped":  fmt.Errorf("create: %w", apierrors.NewRequestEntityTooLargeError("limit is 3145728")),
		"by the rules of the API": apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, cm.Name, nil),
	} {
		r, ok := errors.AsType[*flink.Refusal](written(cm, "team", err))
		if !ok || r.Kind != flink.RefusedPlace || !r.Permanent() || !strings.Contains(r.Error(), "ConfigMap j1-t1-r1") {
			t.Errorf("%s: %v", name, r)
			continue
		}
		if tells := strings.Contains(r.Error(), "of 2097"); tells == apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if err := written(cm, "team", apierrors.NewInternalError(errors.New("etcdserver: leader changed"))); err == nil {
		t.Error("another error is none")
	} else if r, ok := errors.AsType[*flink.Refusal](err); ok {
		t.Errorf("another error is refused for good: %v", r)
	}
	if err := written(cm, "team", nil); err != nil {
		t.Errorf("no error is %v", err)
	}
}
