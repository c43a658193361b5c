package kube_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestAnAgentThatNeverUsedKeysMakesNone(t *testing.T) {
	c := newCluster(t)
	rt, err := kube.New(c.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = rt.Run(ctx, func(string) {})
	if _, err := c.admin.CoreV1().Secrets(c.own).Get(t.Context(), "keys", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a Secret of keys after it: %v", err)
	}
}

// A controller that could not make pods tries again after minutes at last. Here it has something to do as soon as there may
// be room.
func TestPodsThatWereRefusedAreAskedForAgain(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	quotas := c.admin.CoreV1().ResourceQuotas(c.namespace)
	none := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}
	if _, err := quotas.Create(t.Context(), none, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the quota is in force", func() string {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "probe"},
			Spec:       corev1.PodSpec{ServiceAccountName: render.DefaultJobManagerSA, Containers: []corev1.Container{{Name: "x", Image: "x"}}},
		}
		_, err := c.admin.CoreV1().Pods(c.namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return exceeds("none", err)
	})
	launch := launchOf(uid(1), 1)
	a.ensure(launch)
	tried := func() int {
		if err := a.Collect(t.Context(), launch.Run.UID, []flink.Run{launch.Run}); err != nil {
			t.Fatal(err)
		}
		sets, err := c.admin.AppsV1().ReplicaSets(c.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range sets.Items {
			if sets.Items[i].Annotations["waterwheel.dev/tried-again"] != "" {
				n++
			}
		}
		return n
	}
	c.eventually("both controllers are given something to do", func() string {
		if tried() < 2 {
			return "not yet"
		}
		return ""
	})
	if o, ok := a.look(launch.Run); !ok || len(o.Drift) > 0 {
		t.Errorf("what the agent did itself is drift: %v", o.Drift)
	}
}
