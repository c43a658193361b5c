package kube_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Two jobs of one name in one namespace, of two tenants that share it: the first keeps the Service, and nothing is written
// in turns. When it is gone the other has it.
func TestTheServiceOfAJobIsNotTakenByAnotherOfItsName(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	one, two := launchOf(uid(1), 1), launchOf(uid(2), 1)
	a.ensure(one)
	a.ensure(two)
	leadsTo := func() string {
		t.Helper()
		svc, err := c.admin.CoreV1().Services(c.namespace).Get(t.Context(), "clicks-rest", metav1.GetOptions{})
		if err != nil {
			return errText(err)
		}
		return svc.Spec.Selector[render.LabelUID]
	}
	for range 3 {
		for _, l := range []flink.Launch{one, two} {
			if err := a.Collect(t.Context(), l.Run.UID, []flink.Run{l.Run}); err != nil {
				t.Fatal(err)
			}
			if got := leadsTo(); got != uid(1) {
				t.Fatalf("it leads to job %s", got)
			}
		}
	}
	if err := a.End(t.Context(), one.Run); err != nil {
		t.Fatal(err)
	}
	c.eventually("the other job has the Service", func() string {
		if err := a.Collect(t.Context(), uid(2), []flink.Run{two.Run}); err != nil {
			return err.Error()
		}
		if got := leadsTo(); got != uid(2) {
			return "it leads to job " + got
		}
		return ""
	})
}
