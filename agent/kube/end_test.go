package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestEndLeavesTheRecordOfCheckpointsUntilItIsCollected(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	old, next, alien := launchOf(uid(1), 1), launchOf(uid(1), 2), launchOf(uid(2), 1)
	alien.Name = "views"
	for _, l := range []flink.Launch{old, next, alien} {
		a.ensure(l)
		c.flinkMaps(l.Run, 7, 12, 11)
	}
	c.eventually("high availability data is seen", func() string {
		if o, _ := a.look(old.Run); o.HA == nil || !o.HA.Graph || !o.HA.Pointers || o.HA.Newest != 12 || o.HA.Renewed.IsZero() {
			return "not yet"
		}
		return ""
	})
	if err := a.End(t.Context(), old.Run); err != nil {
		t.Fatal(err)
	}
	if got := c.maps(old.Run); !slices.Equal(got, []string{render.CheckpointConfigMap(old.Run)}) {
		t.Errorf("left of the ended run: %v", got)
	}
	c.eventually("what the anchor and its Deployments owned goes", func() string {
		if pods := c.pods(old.Run); len(pods) != 0 {
			return fmt.Sprintf("%d pods are left", len(pods))
		}
		for name := range c.versions() {
			if strings.Contains(name, render.Name(old.Run)) {
				return name
			}
		}
		return ""
	})
	c.eventually("an ended run of which a record is left is seen so", func() string {
		if o, ok := a.look(old.Run); !ok || o.Alive() || o.JobManager.State != flink.ProcessAbsent {
			return fmt.Sprintf("%v, %+v", ok, o)
		}
		return ""
	})
	dir := "s3://bucket/state/team/" + old.Run.UID + "/t1/r1/checkpoints"
	s, err := a.Snapshots().Newest(t.Context(), old.Run, dir)
	if want := dir + "/" + old.Run.JobID() + "/chk-12"; err != nil || s.Path != want || s.ID != 12 || s.Kind != flink.KindCheckpoint || s.Run != old.Run {
		t.Errorf("newest: %+v, %v", s, err)
	}
	if err := a.End(t.Context(), old.Run); err != nil {
		t.Errorf("ended twice: %v", err)
	}
	collect := func(keep ...flink.Run) {
		t.Helper()
		if err := a.Collect(t.Context(), uid(1), keep); err != nil {
			t.Fatal(err)
		}
	}
	collect(next.Run, old.Run)
	if got := c.maps(old.Run); len(got) != 1 {
		t.Errorf("a run that is on record was collected: %v", got)
	}
	c.eventually("it is collected", func() string { // a pod of it that was just about to be made may show for a moment
		collect(next.Run)
		return strings.Join(c.maps(old.Run), ", ")
	})
	c.eventually("the newest checkpoint of a run without any record is not known", func() string {
		if s, err := a.Snapshots().Newest(t.Context(), old.Run, dir); err == nil {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	collect() // the job is forgotten, its run lives
	for _, l := range []flink.Launch{next, alien} {
		if got := c.maps(l.Run); len(got) != 3 {
			t.Errorf("run %s has %v", l.Run.Name(), got)
		}
		if o, _ := a.look(l.Run); len(o.Drift) != 0 || !o.Alive() {
			t.Errorf("run %s: %+v", l.Run.Name(), o)
		}
	}
}

func TestARecordThatWasWatchedToItsEndIsKnownAndOneThatWasNotIsNot(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	run := launchOf(uid(1), 1).Run
	c.flinkMaps(run, 11, 12)
	newest := func(of *agent) string {
		s, err := of.Snapshots().Newest(t.Context(), run, "s3://b/c")
		if err != nil {
			return err.Error()
		}
		return s.Path
	}
	want := "s3://b/c/" + run.JobID() + "/chk-12"
	c.eventually("the record is watched", func() string {
		if got := newest(a); got != want {
			return got
		}
		return ""
	})
	for _, name := range []string{render.CheckpointConfigMap(run), render.LeaderConfigMap(run)} { // as Flink does when a job fails for good
		if err := c.admin.CoreV1().ConfigMaps(c.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("a record that was watched to its end is known", func() string {
		if got := newest(a); got != want {
			return got
		}
		return ""
	})
	if got := newest(c.agent(c.config())); !strings.Contains(got, "cannot be read") {
		t.Errorf("of one that was not there: %s", got)
	}
}

func TestARunWithoutACheckpointHasNoneAndOneWithoutARecordMayHave(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	run := launchOf(uid(1), 1).Run
	if _, err := a.Snapshots().Newest(t.Context(), run, "s3://b/c"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("no record: %v", err)
	}
	if _, err := a.Snapshots().Savepoint(t.Context(), run, "s3://b/s"); err == nil {
		t.Error("no record: whether a stop was completed is known")
	}
	c.flinkMaps(run)
	if s, err := a.Snapshots().Newest(t.Context(), run, "s3://b/c"); err != nil || !s.IsZero() {
		t.Errorf("an empty record: %+v, %v", s, err)
	}
	if s, err := a.Snapshots().Savepoint(t.Context(), run, "s3://b/s"); err != nil || !s.IsZero() {
		t.Errorf("a job that did not end: %+v, %v", s, err)
	}
	if ok, err := a.Snapshots().Exists(t.Context(), "s3://b/c/chk-1"); ok || err == nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	c.eventually("a run of which only Flink's record is left is told of", func() string {
		if o, ok := a.look(run); !ok || o.Alive() || o.HA == nil || o.Launch != nil {
			return "not yet"
		}
		return ""
	})
}

func TestEndReturnsWhenNoPodIsLeft(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	c.eventually("pods", func() string {
		if len(c.pods(l.Run)) < 3 {
			return "too few"
		}
		return ""
	})
	// On a node, a pod stays until its kubelet says that it has ended.
	pod := c.pods(l.Run)[0]
	bind := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if err := c.admin.CoreV1().Pods(c.namespace).Bind(t.Context(), bind, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	ended := make(chan error, 1)
	go func() { ended <- a.End(ctx, l.Run) }()
	c.eventually("that pod is held up", func() string { return c.beingDeleted(l.Run, pod.Name) })
	giveUp()
	err := <-ended
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "pod "+pod.Name+" on node n1") {
		t.Fatalf("ended with a pod left: %v", err)
	}
	if o, ok := a.look(l.Run); !ok || !o.Alive() {
		t.Errorf("a run with a pod counts as gone: %+v", o)
	}
	if got := c.maps(l.Run); !slices.Contains(got, render.Name(l.Run)) {
		t.Errorf("the anchor went before the pods: %v", got)
	}
	err = c.admin.CoreV1().Pods(c.namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.End(t.Context(), l.Run); err != nil {
		t.Fatal(err)
	}
	c.eventually("nothing is seen of the run any more", func() string {
		if o, ok := a.look(l.Run); ok {
			return fmt.Sprintf("%+v", o)
		}
		return ""
	})
}

// The API server may carry out a request whose asker has given up on it: what is said is what stands in the way all the same.
func TestAnEndThatIsGivenUpAtADeleteSaysWhatIsLeft(t *testing.T) {
	c := newCluster(t)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	c.api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if q.Method != http.MethodDelete {
				return next.RoundTrip(q)
			}
			answer, err := next.RoundTrip(q.WithContext(t.Context()))
			giveUp()
			if err == nil {
				err = errors.Join(q.Context().Err(), answer.Body.Close())
			}
			return nil, err
		})
	})
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	c.eventually("pods", func() string {
		if len(c.pods(l.Run)) < 3 {
			return "too few"
		}
		return ""
	})
	pod := c.pods(l.Run)[0].Name
	if err := a.End(ctx, l.Run); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "pod "+pod) {
		t.Errorf("err = %v", err)
	}
}

func TestTheJobsServiceLeadsToItsCurrentRun(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	one, two := launchOf(uid(1), 1), launchOf(uid(1), 2)
	a.ensure(one)
	a.ensure(two)
	services := c.admin.CoreV1().Services(c.namespace)
	leads := func(keep ...flink.Run) string {
		t.Helper()
		if err := a.Collect(t.Context(), uid(1), keep); err != nil {
			t.Fatal(err)
		}
		svc, err := services.Get(t.Context(), "clicks-rest", metav1.GetOptions{})
		if err != nil {
			return errText(err)
		}
		return svc.Spec.Selector[render.LabelRun]
	}
	if got := leads(one.Run, two.Run); got != "1" {
		t.Errorf("before the switch it leads to %s", got)
	}
	if got := leads(two.Run, one.Run); got != "2" {
		t.Errorf("after the switch it leads to %s", got)
	}
	for _, l := range []flink.Launch{one, two} {
		if err := a.End(t.Context(), l.Run); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("the Service goes once the job is seen to be gone", func() string {
		if got := leads(); !strings.Contains(got, "not found") {
			return "it leads to " + got
		}
		return ""
	})
	// Another's Service of that name stays another's.
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "clicks-rest"}, Spec: corev1.ServiceSpec{Selector: map[string]string{render.LabelRun: "theirs"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := services.Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	three := launchOf(uid(1), 3)
	a.ensure(three)
	if got := leads(three.Run); got != "theirs" {
		t.Errorf("another's Service leads to %s now", got)
	}
}
