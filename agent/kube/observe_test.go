package kube_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestQuotasAreTheRoomAndSayWhyPodsAreNotMade(t *testing.T) {
	c := newCluster(t)
	for name, hard := range map[string]corev1.ResourceList{
		"jobs": {corev1.ResourceLimitsMemory: resource.MustParse("5Gi"), corev1.ResourceRequestsMemory: resource.MustParse("4Gi")},
		"pods": {corev1.ResourcePods: resource.MustParse("1"), corev1.ResourceServicesNodePorts: resource.MustParse("0")}, // the latter to be tried
	} {
		q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
		if _, err := c.admin.CoreV1().ResourceQuotas(c.namespace).Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a := c.agent(c.config())
	l := launchOf(uid(1), 1) // 3 GiB, three pods
	want := flink.Room{MemoryTotal: 4 << 30, Limit: "resource quota jobs of namespace " + c.namespace}
	is := func() string {
		_, room, err := a.Observe(t.Context(), l.Run.UID)
		if err != nil || room != want {
			return fmt.Sprintf("%+v, %v", room, err)
		}
		return ""
	}
	c.eventually("the tightest counts", is)
	c.eventually("quotas are in force", func() string {
		probe := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}}
		_, err := c.admin.CoreV1().Services(c.namespace).Create(t.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return exceeds("pods", err)
	})
	a.ensure(l)
	c.eventually("pods that may not be made say so", func() string {
		o, _ := a.look(l.Run)
		words := o.JobManager.Waiting
		for _, p := range o.TaskManagers {
			words += p.Waiting
		}
		if !o.JobManager.Exists() || o.TaskManagersAlive() != 2 || !strings.Contains(words, "exceeded quota: pods") {
			return "waits: " + words
		}
		return ""
	})
	want.MemoryUsed = l.Spec.MemoryBytes() // pods that are not there yet are counted
	c.eventually("what is used", is)
	r, ok := errors.AsType[*flink.Refusal](a.Ensure(t.Context(), launchOf(uid(2), 1)))
	if !ok || r.Kind != flink.RefusedNoRoom || !strings.Contains(r.Error(), "resource quota jobs") {
		t.Errorf("a second run: %v", r)
	}
	if got := c.maps(launchOf(uid(2), 1).Run); len(got) != 0 {
		t.Errorf("a refused run left %v", got)
	}
	a.ensure(l)
}

func TestBlindIsAnErrorAndNeverNothing(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 1)
	rt, err := kube.New(c.config())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := rt.Observe(t.Context(), l.Run.UID); err == nil {
		t.Error("seen before anything was looked at")
	}
	var line line
	c.api.Dial = line.dial
	a := c.agent(c.config())
	a.ensure(l)
	line.set(true)
	c.eventually("the cut is noticed", func() string {
		if _, _, err := a.Observe(t.Context(), l.Run.UID); err == nil {
			return "still seen"
		}
		return ""
	})
	if err := a.Ensure(t.Context(), launchOf(uid(1), 2)); err == nil {
		t.Error("a run was made without an API server")
	} else if _, refused := errors.AsType[*flink.Refusal](err); refused {
		t.Errorf("a silent API server is no refusal: %v", err)
	}
	if err := a.End(t.Context(), l.Run); err == nil {
		t.Error("a run was ended without an API server")
	}
	if _, err := a.Snapshots().Newest(t.Context(), l.Run, "s3://b"); err == nil {
		t.Error("a record was read without an API server")
	}
	line.set(false)
	c.eventually("it is seen again", func() string {
		_, _, err := a.Observe(t.Context(), l.Run.UID)
		return errText(err)
	})
	if o, ok := a.look(l.Run); !ok || !o.Alive() {
		t.Errorf("after the cut: %+v", o)
	}
}

func TestAJobIsWokenByWhatMatters(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	c.flinkMaps(l.Run, 1)
	c.eventually("pods are seen, and nothing changes any more", func() string {
		o, _ := a.look(l.Run)
		if o.HA == nil || !o.HA.Pointers || !o.HA.Graph || len(c.pods(l.Run)) != 3 {
			return "not yet"
		}
		return ""
	})
	renew := func() {
		t.Helper()
		for range 3 {
			cm, err := c.admin.CoreV1().ConfigMaps(c.namespace).Get(t.Context(), render.LeaderConfigMap(l.Run), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cm.Annotations["control-plane.alpha.kubernetes.io/leader"] = `{"renewTime":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}`
			if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	c.eventually("renewals of leases wake nobody", func() string {
		before := a.wakes(l.Run.UID)
		renew()
		seen, _ := a.look(l.Run)
		if seen.HA.Renewed.Before(start.Add(-time.Second)) || a.wakes(l.Run.UID) != before {
			return "not yet"
		}
		return ""
	})
	before := a.wakes(l.Run.UID)
	if err := c.admin.CoreV1().ConfigMaps(c.namespace).Delete(t.Context(), render.LeaderConfigMap(l.Run), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("a lost graph wakes", func() string {
		if a.wakes(l.Run.UID) == before {
			return "not woken"
		}
		return ""
	})
}

func TestAJobInSyncCostsNoRequest(t *testing.T) {
	c := newCluster(t)
	var asked atomic.Int64
	c.api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if q.URL.Query().Get("watch") == "" {
				asked.Add(1)
			}
			return next.RoundTrip(q)
		})
	})
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	c.flinkMaps(l.Run, 1)
	pass := func() {
		t.Helper()
		o, _ := a.look(l.Run)
		if len(o.Drift) != 0 {
			t.Fatalf("drift: %v", o.Drift)
		}
		if err := a.Collect(t.Context(), l.Run.UID, []flink.Run{l.Run}); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("a job in sync costs no request", func() string { // its Service is made first, and seen
		before := asked.Load()
		for range 100 {
			pass()
		}
		if n := asked.Load() - before; n != 0 {
			return fmt.Sprintf("%d requests", n)
		}
		return ""
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
