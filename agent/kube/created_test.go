package kube

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestANewObjectIsAsAskedForUnlessAFieldOfItWasChanged(t *testing.T) {
	l := flink.Launch{
		Run: flink.Run{UID: "00000000000000000000000000000001", Term: 1, Run: 1}, Tenant: "team", Name: "clicks", Generation: 1,
		Spec: flink.Default(flink.Spec{FlinkVersion: "2.3", Parallelism: 1, UpgradeMode: flink.UpgradeStateless, Jar: flink.Jar{URI: "local:///opt/flink/usrlib/job.jar"}}),
	}
	o, err := render.Run(l, render.Place{Namespace: "team", Images: map[string]string{"2.3": "flink:2.3"}, Agent: render.Peer{Namespace: "waterwheel", Labels: map[string]string{"app": "agent"}}})
	if err != nil {
		t.Fatal(err)
	}
	// answer is what an API server makes of an object: an identity, and fields of which nothing was said.
	answer := func(want render.Object) render.Object {
		done, ok := want.DeepCopyObject().(render.Object)
		if !ok {
			t.Fatalf("%T is copied as another thing", want)
		}
		done.SetUID("u")
		done.SetResourceVersion("7")
		done.SetCreationTimestamp(metav1.NewTime(time.Unix(1, 0)))
		done.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: Manager}})
		return done
	}
	for _, want := range o.Owned(types.UID("a")).All() {
		done := answer(want)
		if d, ok := done.(*appsv1.Deployment); ok {
			d.Spec.Template.Spec.SchedulerName = "default-scheduler"
		}
		if !asAsked(want, done) {
			t.Errorf("%s is not taken as it was asked for", title(want))
		}
		done = answer(want)
		done.SetLabels(map[string]string{render.LabelManagedBy: "somebody"})
		if asAsked(want, done) {
			t.Errorf("%s lost its labels, and nobody says so", title(want))
		}
		if d, ok := answer(want).(*appsv1.Deployment); ok {
			d.Spec.Template.Spec.Containers[0].Image = "mirror/flink:2.3"
			if asAsked(want, d) {
				t.Errorf("%s has another image, and nobody says so", title(want))
			}
		}
	}
}
