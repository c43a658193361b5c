package kube_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// goneAgent is a Runtime of a process that knows no job: the one that ends an agent.
func (c *cluster) goneAgent() *agent {
	c.t.Helper()
	cfg := c.config()
	cfg.TenantOf = nil
	return c.agent(cfg)
}

func TestEndAllLeavesNothingOfAnyRun(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	first, next, alien := launchOf(uid(1), 1), launchOf(uid(1), 2), launchOf(uid(2), 1)
	alien.Name = "views"
	for _, l := range []flink.Launch{first, next, alien} {
		a.ensure(l)
		c.flinkMaps(l.Run, 7)
	}
	if err := a.Collect(t.Context(), uid(1), []flink.Run{next.Run, first.Run}); err != nil { // makes the job's Service
		t.Fatal(err)
	}
	if err := a.End(t.Context(), first.Run); err != nil { // its record of checkpoints stays
		t.Fatal(err)
	}
	// Theirs: labelled as ours by somebody, and named otherwise.
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Labels: map[string]string{render.LabelManagedBy: render.ManagedBy, render.LabelUID: uid(1)}}}
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e := c.goneAgent()
	if empty, err := e.Empty(t.Context()); empty || err != nil {
		t.Errorf("empty: %v, %v", empty, err)
	}
	told := map[flink.Run]kube.Ended{}
	removed, err := e.EndAll(t.Context(), func(r kube.Ended) { told[r.Run] = r })
	if err != nil {
		t.Fatal(err)
	}
	want := kube.Ended{
		Run: alien.Run, Namespace: c.namespace, Tenant: "team", Name: "views",
		Newest: "s3://bucket/state/team/" + uid(2) + "/t1/r1/checkpoints/" + alien.Run.JobID() + "/chk-7",
	}
	// A view that still shows the last of a run that was ended before may end it once more: it costs nothing.
	if removed.Runs != len(told) || removed.Objects < 15 {
		t.Errorf("ended %+v, of which %+v", removed, told)
	}
	delete(told, first.Run)
	if _, ok := told[next.Run]; !ok || told[alien.Run] != want || len(told) != 2 {
		t.Errorf("ended %+v, not %+v and %v", told, want, next.Run)
	}
	c.eventually("nothing is left", func() string {
		left := c.versions()
		delete(left, "*v1.ConfigMap theirs")
		for name := range left {
			return name
		}
		return ""
	})
	for _, run := range []flink.Run{first.Run, next.Run, alien.Run} {
		if left := c.maps(run); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Get(t.Context(), "theirs", metav1.GetOptions{}); err != nil {
		t.Errorf("not ours: %v", err)
	}
	c.eventually("the agent sees that nothing is left", func() string {
		if empty, err := e.Empty(t.Context()); !empty || err != nil {
			return fmt.Sprintf("empty: %v, %v", empty, err)
		}
		return ""
	})
	c.eventually("there is nothing to end any more", func() string { // a pod that was just about to be made may show for a moment
		again := 0
		if removed, err := e.EndAll(t.Context(), func(kube.Ended) { again++ }); err != nil || removed.Runs != 0 || again != 0 {
			return fmt.Sprintf("told %d times: %+v, %v", again, removed, err)
		}
		return ""
	})
}

func TestEndAllThatCannotEndOneRunKeepsWhereTheOthersWere(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	one, two := launchOf(uid(1), 1), launchOf(uid(2), 1)
	two.Name = "views"
	for _, l := range []flink.Launch{one, two} {
		a.ensure(l)
		c.flinkMaps(l.Run, 7)
	}
	c.eventually("there are all pods", func() string {
		if n := len(c.pods(two.Run)); n != 3 {
			return fmt.Sprintf("%d pods", n)
		}
		return ""
	})
	stuck := c.pods(two.Run)[0].Name
	finalizers := func(patch string) {
		t.Helper()
		if _, err := c.admin.CoreV1().Pods(c.namespace).Patch(t.Context(), stuck, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	finalizers(`{"metadata":{"finalizers":["example.com/kept"]}}`)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	e := c.goneAgent()
	told, done := make(chan flink.Run, 9), make(chan struct{})
	var removed kube.Removed
	var err error
	go func() {
		defer close(done)
		removed, err = e.EndAll(ctx, func(r kube.Ended) { told <- r.Run })
	}()
	if run := take(t, "a run ends", told); run != one.Run {
		t.Errorf("ended %s", run.Name())
	}
	c.eventually("the other is held up by that pod", func() string { return c.beingDeleted(two.Run, stuck) })
	giveUp()
	take(t, "it gives up", done)
	if err == nil || !strings.Contains(err.Error(), render.Name(two.Run)) || !strings.Contains(err.Error(), stuck) || strings.Contains(err.Error(), render.Name(one.Run)) {
		t.Errorf("err = %v", err)
	}
	if removed.Runs != 1 || len(told) != 0 {
		t.Errorf("ended %+v, and told of %d more", removed, len(told))
	}
	s, err := a.Snapshots().Newest(t.Context(), one.Run, "s3://b/c")
	if err != nil || s.ID != 7 {
		t.Errorf("the newest checkpoint of the run that ended: %+v, %v", s, err)
	}
	finalizers(`{"metadata":{"finalizers":null}}`)
}

func TestEndAllTouchesNothingWhileANamespaceCannotBeSeen(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	run := launchOf(uid(1), 1)
	a.ensure(run)
	before := c.versions()
	cfg := c.config()
	hidden := c.place
	hidden.Namespace = c.namespace + "-hidden"
	cfg.Tenants, cfg.TenantOf = map[string]render.Place{"team": c.place, "hidden": hidden}, nil
	rt, err := kube.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	watch, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { _ = rt.Run(watch, func(string) {}) })
	defer func() { stop(); watching.Wait() }()
	c.eventually("it is told that it may not see", func() string {
		if _, _, err := rt.Observe(t.Context(), run.Run.UID); err == nil || !strings.Contains(err.Error(), "forbidden") {
			return fmt.Sprint(err)
		}
		return ""
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = rt.EndAll(ctx, func(r kube.Ended) { t.Errorf("ended: %+v", r) })
	if err == nil || !strings.Contains(err.Error(), hidden.Namespace) || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("err = %v", err)
	}
	if after := c.versions(); !maps.Equal(before, after) {
		t.Errorf("there was %v, and is %v", before, after)
	}
}

func TestEndAllLeavesTheRunsOfAnotherAgent(t *testing.T) {
	c := newCluster(t)
	cfg := func(cluster string) kube.Config {
		out := c.config()
		out.Cluster = func() string { return cluster }
		return out
	}
	theirs, mine := launchOf(uid(1), 1), launchOf(uid(2), 1)
	mine.Name = "views"
	them := c.agent(cfg("them"))
	them.ensure(theirs)
	c.agent(cfg("me")).ensure(mine)
	c.flinkMaps(theirs.Run, 7)
	c.flinkMaps(mine.Run, 7)
	if err := them.Collect(t.Context(), uid(1), []flink.Run{theirs.Run}); err != nil { // makes the job's Service
		t.Fatal(err)
	}
	gone := cfg("me")
	gone.TenantOf = nil
	e := c.agent(gone)
	var told []kube.Ended
	removed, err := e.EndAll(t.Context(), func(r kube.Ended) { told = append(told, r) })
	if err != nil {
		t.Fatal(err)
	}
	left := kube.Ended{Run: theirs.Run, Namespace: c.namespace, Other: "them", Tenant: "team", Name: "clicks"}
	if removed.Runs != 1 || len(told) != 2 || told[0] != left || told[1].Run != mine.Run || told[1].Other != "" {
		t.Errorf("removed %+v, told %+v", removed, told)
	}
	if got := c.maps(mine.Run); len(got) != 0 {
		t.Errorf("left of the own run: %v", got)
	}
	if got := c.maps(theirs.Run); len(got) != 3 {
		t.Errorf("left of the other's run: %v", got)
	}
	if o, ok := them.look(theirs.Run); !ok || len(o.Drift) != 0 {
		t.Errorf("the other's run: %+v", o)
	}
	if _, err := c.admin.CoreV1().Services(c.namespace).Get(t.Context(), "clicks-rest", metav1.GetOptions{}); err != nil {
		t.Errorf("the other's Service: %v", err)
	}
	c.eventually("nothing of this agent's is seen", func() string {
		if empty, err := e.Empty(t.Context()); !empty || err != nil {
			return fmt.Sprintf("empty: %v, %v", empty, err)
		}
		return ""
	})
}
