package kube_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/kube"
)

func TestRightsThatWereTakenAwayAreNamedAndTakenUpAgain(t *testing.T) {
	c := newCluster(t)
	first := c.agent(c.config())
	launch := launchOf(uid(1), 1)
	first.ensure(launch)
	before := c.versions()
	bindings := c.admin.RbacV1().RoleBindings(c.namespace)
	binding, err := bindings.Get(t.Context(), agentUser, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bindings.Delete(t.Context(), agentUser, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("its rights are gone", func() string {
		if _, _, err := first.Observe(t.Context(), launch.Run.UID); err != nil {
			return "" // its watches ended meanwhile
		}
		if err := first.Ensure(t.Context(), launchOf(uid(2), 1)); err == nil {
			return "it may still write"
		}
		return ""
	})

	rt, err := kube.New(c.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = rt.Run(ctx, func(string) {}) })
	t.Cleanup(func() { cancel(); done.Wait() })
	c.eventually("what is missing is said", func() string {
		_, _, err := rt.Observe(t.Context(), launch.Run.UID)
		for _, want := range []string{"namespace " + c.namespace, "RoleBinding waterwheel-agent", "`helm upgrade`"} {
			if !strings.Contains(errText(err), want) {
				return "it says " + errText(err)
			}
		}
		return ""
	})
	again := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding.Name}, RoleRef: binding.RoleRef, Subjects: binding.Subjects}
	if _, err := bindings.Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the run is seen again", func() string {
		runs, _, err := rt.Observe(t.Context(), launch.Run.UID)
		if err == nil && len(runs) == 0 {
			return "there is none"
		}
		return errText(err)
	})
	for name, version := range before {
		if c.versions()[name] != version {
			t.Errorf("%s was touched", name)
		}
	}
}
