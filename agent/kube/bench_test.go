package kube_test

import (
	"context"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/waterwheel-io/waterwheel/agent/render"
)

// parallel is how many runs are brought up at once, as the reconciler does.
const parallel = 16

// BenchmarkEnsure brings runs up, one an iteration; BenchmarkPost makes the same
// objects by nothing but requests that create them.
func BenchmarkEnsure(b *testing.B) {
	c := newCluster(b)
	a := c.agent(c.config())
	a.ensure(launchOf(uid(0), 1))
	var n atomic.Int32
	b.SetParallelism(parallel)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := a.Ensure(b.Context(), launchOf(uid(int(n.Add(1))), 1)); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPost(b *testing.B) {
	c := newCluster(b)
	api := dynamic.NewForConfigOrDie(c.api)
	post := func(ctx context.Context, o render.Object, resource schema.GroupVersionResource) {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err == nil {
			_, err = api.Resource(resource).Namespace(c.namespace).Create(ctx, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{})
		}
		if err != nil {
			b.Error(err)
		}
	}
	resources := map[string]schema.GroupVersionResource{
		"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "Service": {Version: "v1", Resource: "services"},
		"ConfigMap": {Version: "v1", Resource: "configmaps"}, "NetworkPolicy": {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		"Secret": {Version: "v1", Resource: "secrets"},
	}
	var n atomic.Int32
	b.SetParallelism(parallel)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l := launchOf(uid(int(n.Add(1))), 1)
			o, err := render.Run(l, c.place)
			if err != nil {
				b.Error(err)
				return
			}
			secret := render.Secret(l, c.place, render.Keys{KeyStore: make([]byte, 1200), TrustStore: make([]byte, 1000), Client: make([]byte, 1200), CA: make([]byte, 800), Password: "x"}, "u")
			for _, obj := range append(o.Owned("u").All(), secret) {
				obj.SetOwnerReferences(nil)
				post(b.Context(), obj, resources[obj.GetObjectKind().GroupVersionKind().Kind])
			}
		}
	})
}
