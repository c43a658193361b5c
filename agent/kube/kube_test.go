package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestARunIsMadeOnceAndFoundByAnAgentWithoutRecords(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 2)
	a := c.agent(c.config())
	a.ensure(l)
	before := c.versions()
	if len(before) != 7 { // ConfigMap, Secret, Service, two policies, two Deployments
		t.Errorf("made: %v", before)
	}
	a.ensure(l)
	for name, version := range c.versions() {
		if before[name] != version {
			t.Errorf("%s was written again though nothing differed", name)
		}
	}
	o, ok := c.agent(c.config()).look(l.Run)
	if !ok || o.Launch == nil || !flink.SpecEqual(o.Launch.Spec, l.Spec) || o.Launch.Generation != 3 || o.Launch.Restart != 1 || o.Launch.Name != "clicks" {
		t.Fatalf("found: %+v, launch %+v", o, o.Launch)
	}
	if o.JobManager.State != flink.ProcessRunning || o.TaskManagersAlive() != 2 || len(o.Drift) != 0 || o.Memory != l.Spec.MemoryBytes() {
		t.Errorf("found: %+v", o)
	}
	if want := "https://" + render.Name(l.Run) + "-rest." + c.namespace + ".svc:8081"; o.Endpoint != want {
		t.Errorf("endpoint %s, wanted %s", o.Endpoint, want)
	}
	if o.HA == nil || o.HA.Graph || o.HA.Pointers {
		t.Errorf("high availability before Flink came up: %+v", o.HA)
	}
}

func TestWhatIsChangedOrDeletedByHandIsToldAndPutBack(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 1)
	a := c.agent(c.config())
	a.ensure(l)
	jm, tm, name := render.JobManagerName(l.Run), render.TaskManagerName(l.Run), render.Name(l.Run)
	ds, ctx := c.admin.AppsV1().Deployments(c.namespace), t.Context()
	patch := func(name, text string) error {
		_, err := ds.Patch(ctx, name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "somebody"})
		return err
	}
	for _, step := range []struct {
		what string
		do   error
		told string
	}{
		{"scaled", patch(tm, `{"spec":{"replicas":1}}`), "Deployment " + tm + ": spec.replicas is 1, made as 2"},
		{"another image", patch(jm, `{"spec":{"template":{"spec":{"containers":[{"name":"jobmanager","image":"evil"}]}}}}`), "image is evil, made as " + image},
		{"service deleted", c.admin.CoreV1().Services(c.namespace).Delete(ctx, render.RESTName(l.Run), metav1.DeleteOptions{}), "Service " + render.RESTName(l.Run) + " is missing"},
		{"policy deleted", c.admin.NetworkingV1().NetworkPolicies(c.namespace).Delete(ctx, jm, metav1.DeleteOptions{}), "NetworkPolicy " + jm + " is missing"},
	} {
		if step.do != nil {
			t.Fatalf("%s: %v", step.what, step.do)
		}
		c.eventually(step.what, func() string {
			o, _ := a.look(l.Run)
			if !strings.Contains(strings.Join(o.Drift, "; "), step.told) {
				return "told: " + strings.Join(o.Drift, "; ")
			}
			return ""
		})
	}
	// What others add and own is nobody's business here.
	if err := patch(jm, `{"metadata":{"annotations":{"team.example/owner":"x"}}}`); err != nil {
		t.Fatal(err)
	}
	a.ensure(l)
	if o, _ := a.look(l.Run); len(o.Drift) != 0 {
		t.Errorf("after it was put back: %v", o.Drift)
	}
	d, err := ds.Get(ctx, jm, metav1.GetOptions{})
	if err != nil || d.Annotations["team.example/owner"] != "x" || d.Spec.Template.Spec.Containers[0].Image != image {
		t.Errorf("%v: %v, image %s", err, d.Annotations, d.Spec.Template.Spec.Containers[0].Image)
	}
	// A Deployment that is on its way out is put back when it is gone.
	if err := ds.Delete(ctx, tm, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}); err != nil {
		t.Fatal(err)
	}
	c.eventually("deletion is told", func() string {
		if o, _ := a.look(l.Run); len(o.Drift) == 0 {
			return "no drift"
		}
		return ""
	})
	a.ensure(l)
	if o, _ := a.look(l.Run); len(o.Drift) != 0 || o.TaskManagersAlive() != 2 {
		t.Errorf("after the Deployment was made again: %v, %d", o.Drift, o.TaskManagersAlive())
	}
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"config.yaml":"x"}}`), metav1.PatchOptions{}); err == nil {
		t.Error("the anchor's data can be changed")
	}
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("an anchor without labels is put back", func() string {
		a.ensure(l)
		if o, _ := a.look(l.Run); o.Launch == nil {
			return "it is not seen"
		}
		return ""
	})
}

func TestARunIsPutBackAsItWasMadeWhateverThePlaceSaysNow(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 1)
	c.agent(c.config()).ensure(l)
	c.place.Images = map[string]string{"2.3": "flink:newer"}
	a := c.agent(c.config())
	if o, _ := a.look(l.Run); len(o.Drift) != 0 {
		t.Errorf("another place is no drift of what runs: %v", o.Drift)
	}
	ds := c.admin.AppsV1().Deployments(c.namespace)
	if err := ds.Delete(t.Context(), render.JobManagerName(l.Run), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("put back", func() string {
		a.ensure(l)
		d, err := ds.Get(t.Context(), render.JobManagerName(l.Run), metav1.GetOptions{})
		if err == nil && d.Spec.Template.Spec.Containers[0].Image != image {
			t.Fatalf("made with image %s", d.Spec.Template.Spec.Containers[0].Image)
		}
		return errText(err)
	})
	other := l
	other.Spec.Parallelism = 8
	if err := a.Ensure(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another spec") {
		t.Errorf("the same run with another spec: %v", err)
	}
	next := launchOf(uid(1), 2)
	a.ensure(next)
	if d, err := ds.Get(t.Context(), render.JobManagerName(next.Run), metav1.GetOptions{}); err != nil || d.Spec.Template.Spec.Containers[0].Image != "flink:newer" {
		t.Errorf("the next run: %v, %+v", err, d)
	}
}

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
	if pods := c.pods(old.Run); len(pods) != 0 {
		t.Errorf("%d pods are left", len(pods))
	}
	c.eventually("what the anchor owned goes", func() string {
		for name := range c.versions() {
			if strings.Contains(name, render.Name(old.Run)) {
				return name
			}
		}
		return ""
	})
	o, ok := a.look(old.Run)
	if !ok || o.Alive() || o.JobManager.State != flink.ProcessAbsent {
		t.Errorf("an ended run of which a record is left: %v, %+v", ok, o)
	}
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
	collect(next.Run)
	if got := c.maps(old.Run); len(got) != 0 {
		t.Errorf("not collected: %v", got)
	}
	if _, err := a.Snapshots().Newest(t.Context(), old.Run, dir); err == nil {
		t.Error("the newest checkpoint of a run without any record is known")
	}
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := a.End(ctx, l.Run)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pod "+pod.Name+" on node n1") {
		t.Fatalf("ended with a pod left: %v", err)
	}
	o, ok := a.look(l.Run)
	if !ok || !o.Alive() {
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
	if _, ok := a.look(l.Run); ok {
		t.Error("something is left of the run")
	}
}

func TestADefiniteNoIsARefusal(t *testing.T) {
	c := newCluster(t)
	cfg := c.config()
	elsewhere := c.place
	elsewhere.Namespace = "nowhere"
	a := c.agent(cfg)
	refused := func(l flink.Launch) *flink.Refusal {
		t.Helper()
		r, ok := errors.AsType[*flink.Refusal](a.Ensure(t.Context(), l))
		if !ok {
			t.Fatal("not refused")
		}
		return r
	}
	l := launchOf(uid(1), 1)
	l.Tenant = "other"
	if r := refused(l); r.Kind != flink.RefusedTenant || !strings.Contains(r.Error(), "tenants[]") {
		t.Errorf("a tenant that is not known: %v", r)
	}
	l = launchOf(uid(1), 1)
	l.Spec.FlinkVersion = "1.20"
	if r := refused(l); r.Kind != flink.RefusedVersion {
		t.Errorf("a version without an image: %v", r)
	}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/deployments.apps": resource.MustParse("0")}}}
	if _, err := c.admin.CoreV1().ResourceQuotas(c.namespace).Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the quota is in force", func() string {
		q, err := c.admin.CoreV1().ResourceQuotas(c.namespace).Get(t.Context(), "few", metav1.GetOptions{})
		if err != nil || len(q.Status.Hard) == 0 {
			return "not yet"
		}
		return ""
	})
	if r := refused(launchOf(uid(1), 1)); r.Kind != flink.RefusedNoRoom || !strings.Contains(r.Error(), "quota") {
		t.Errorf("a quota: %v", r)
	}
	if err := c.admin.RbacV1().RoleBindings(c.namespace).Delete(t.Context(), agentUser, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the right is gone", func() string {
		r, ok := errors.AsType[*flink.Refusal](a.Ensure(t.Context(), launchOf(uid(3), 1)))
		if !ok || r.Kind != flink.RefusedPlace || !strings.Contains(r.Error(), "cannot create resource") {
			return "not refused as it should"
		}
		return ""
	})
}

func TestQuotasAreTheRoomAndSayWhyPodsAreNotMade(t *testing.T) {
	c := newCluster(t)
	for name, hard := range map[string]corev1.ResourceList{
		"jobs": {corev1.ResourceLimitsMemory: resource.MustParse("5Gi"), corev1.ResourceRequestsMemory: resource.MustParse("4Gi")},
		"pods": {corev1.ResourcePods: resource.MustParse("1")},
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
		q, err := c.admin.CoreV1().ResourceQuotas(c.namespace).Get(t.Context(), "pods", metav1.GetOptions{})
		if err != nil || len(q.Status.Hard) == 0 {
			return "not yet"
		}
		return ""
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
	if got := leads(); !strings.Contains(got, "not found") {
		t.Errorf("after the job is gone: %s", got)
	}
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

func TestTheRunsSecretIsMadeAndNeverRead(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	get := func() *corev1.Secret {
		t.Helper()
		s, err := c.admin.CoreV1().Secrets(c.namespace).Get(t.Context(), render.RESTName(l.Run), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := get()
	if len(first.Data) != 5 || len(first.OwnerReferences) != 1 || first.OwnerReferences[0].Name != render.Name(l.Run) {
		t.Errorf("the Secret holds %d keys and is owned by %v", len(first.Data), first.OwnerReferences)
	}
	// Deleted by hand: nobody can see that but the pod that wants it, and another agent makes the same again.
	if err := c.admin.CoreV1().Secrets(c.namespace).Delete(t.Context(), first.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("a pod", func() string {
		if len(c.pods(l.Run)) != 3 {
			return "none"
		}
		return ""
	})
	for _, p := range c.pods(l.Run) {
		if p.Labels[render.LabelComponent] != render.JobManager {
			continue
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Spec.Containers[0].Name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "CreateContainerConfigError", Message: `secret "` + first.Name + `" not found`,
		}}}}
		if _, err := c.admin.CoreV1().Pods(c.namespace).UpdateStatus(t.Context(), &p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b := c.agent(c.config())
	o, _ := b.look(l.Run)
	if !slices.Contains(o.Drift, "Secret "+first.Name+" is missing") || !strings.Contains(o.JobManager.Waiting, "not found") {
		t.Errorf("told: %v, %s", o.Drift, o.JobManager.Waiting)
	}
	b.ensure(l)
	if again := get(); string(again.Data[render.KeyCA]) != string(first.Data[render.KeyCA]) || string(again.Data[render.KeyPassword]) != string(first.Data[render.KeyPassword]) {
		t.Error("another agent made other keys for the same run")
	}
}

func TestWhatTheClusterChangesAtOnceIsLeftSo(t *testing.T) {
	c := newCluster(t)
	everywhere := &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.namespace}},
		ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
		}}},
	}
	admission := c.admin.AdmissionregistrationV1()
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: c.namespace},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			MatchConstraints: everywhere, ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType: admissionregistrationv1.PatchTypeJSONPatch,
				JSONPatch: &admissionregistrationv1.JSONPatch{
					Expression: `[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror/flink:2.3"}]`,
				},
			}},
		},
	}
	if _, err := admission.MutatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: c.namespace},
		Spec:       admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{PolicyName: c.namespace},
	}
	if _, err := admission.MutatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	l := launchOf(uid(1), 1)
	c.eventually("the policy is in force", func() string {
		probe := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "probe"},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}}},
			},
		}
		d, err := c.admin.AppsV1().Deployments(c.namespace).Create(t.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && d.Spec.Template.Spec.Containers[0].Image == "x" {
			return "not yet"
		}
		return errText(err)
	})
	a := c.agent(c.config())
	a.ensure(l)
	if o, _ := a.look(l.Run); len(o.Drift) != 0 {
		t.Errorf("the cluster's own word is called drift: %v", o.Drift)
	}
	b := c.agent(c.config()) // another life of the agent learns it by one write
	b.ensure(l)
	if o, _ := b.look(l.Run); len(o.Drift) != 0 {
		t.Errorf("the cluster's own word is called drift again: %v", o.Drift)
	}
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
	pass() // makes the job's Service
	before := asked.Load()
	for range 100 {
		pass()
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d requests for a job in sync", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
