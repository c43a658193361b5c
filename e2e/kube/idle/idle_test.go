package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

func TestWhatIsDueLaterCountsToo(t *testing.T) {
	r := result{options: options{jobs: 100, window: 15 * time.Minute, limit: 6}}
	r.asked = scene.Tally{Requests: 25, Leases: 450, By: map[string]int{"get:configmaps": 25}}
	if got := r.perJobHour(); got != 1+4 { // one in the window, and a status each quarter of an hour
		t.Errorf("%g", got)
	}
	r.asked.Requests, r.asked.By[shown] = 150, 125 // more statuses than that
	if got := r.perJobHour(); got != 1+5 || r.err() != nil {
		t.Errorf("%g, %v", got, r.err())
	}
	r.asked.Requests, r.asked.By[shown] = 175, 150
	if got := r.perJobHour(); got != 1+6 || r.err() == nil {
		t.Errorf("%g is above the limit, and nobody says so", got)
	}
	for _, want := range []string{"jobs=100 ", "minutes=15 ", "requests_per_job_hour=7.00 ", "lease_requests_per_h=1800 ", "flink=stand-in"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%s\nhas no %q", r, want)
		}
	}
	if (result{options: r.options}).err() == nil {
		t.Error("an agent that asked for nothing was measured")
	}
}

func TestTheCensusSaysEachNewNumber(t *testing.T) {
	var out bytes.Buffer
	c := newCensus(2, &out)
	see := func(uid string, s plan.Situation) {
		c.see(flink.Order{UID: uid}, flink.Status{Situation: string(s)})
	}
	see("a", plan.InSync)
	see("a", plan.InSync)
	see("b", plan.Warming)
	see("b", plan.InSync)
	see("a", plan.Silent)
	if got := out.String(); got != "in-sync 1\nin-sync 2\nin-sync 1\n" {
		t.Errorf("%q", got)
	}
}

func TestACheckpointIsPutDownOnce(t *testing.T) {
	p := &player{last: map[string]int64{}}
	if p.completed("r", 0) != nil {
		t.Error("there is none yet")
	}
	one := string(text(p.completed("r", 1)))
	if !strings.Contains(one, pointer(1)) || strings.Contains(one, "null") {
		t.Errorf("the first: %s", one)
	}
	if p.completed("r", 1) != nil {
		t.Error("the first, twice")
	}
	if two := string(text(p.completed("r", 3))); !strings.Contains(two, pointer(3)) || !strings.Contains(two, `"`+pointer(1)+`":null`) {
		t.Errorf("the next takes the last one's place: %s", two)
	}
}

func TestAPodThatRunsIsReady(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "jar"}}, Containers: []corev1.Container{{Name: "flink"}}}}
	s := running(pod, pod.CreationTimestamp)
	if len(s.ContainerStatuses) != 1 || !s.ContainerStatuses[0].Ready || s.ContainerStatuses[0].State.Running == nil || s.InitContainerStatuses[0].State.Terminated == nil {
		t.Errorf("%+v", s)
	}
}
