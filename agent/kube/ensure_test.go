package kube_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	b := c.agent(c.config())
	b.ensure(l) // it finds all there is
	o, ok := b.look(l.Run)
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
	c.eventually("the Deployment is made again", func() string {
		err := a.Ensure(ctx, l) // says so where the old one takes long to go
		if o, _ := a.look(l.Run); err != nil || len(o.Drift) != 0 || o.TaskManagersAlive() != 2 {
			return fmt.Sprintf("%v, %v, %d", err, o.Drift, o.TaskManagersAlive())
		}
		return ""
	})
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"config.yaml":"x"}}`), metav1.PatchOptions{}); err == nil {
		t.Error("the anchor's data can be changed")
	}
	if _, err := c.admin.CoreV1().ConfigMaps(c.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("an anchor without labels is put back", func() string {
		if err := a.Ensure(ctx, l); err != nil {
			return err.Error()
		}
		if o, _ := a.look(l.Run); o.Launch == nil {
			return "it is not seen"
		}
		return ""
	})
}

func TestARunWhoseObjectsAreDeletedByHandIsThereAgain(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 1)
	a := c.agent(c.config())
	maps := c.admin.CoreV1().ConfigMaps(c.namespace)
	var last types.UID
	for _, how := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		c.eventually("the run is there, and owned by its anchor", func() string {
			if err := a.Ensure(t.Context(), l); err != nil {
				return err.Error()
			}
			anchor, err := maps.Get(t.Context(), render.Name(l.Run), metav1.GetOptions{})
			if err != nil || anchor.UID == last || anchor.DeletionTimestamp != nil {
				return "no new anchor yet"
			}
			for _, name := range []string{render.JobManagerName(l.Run), render.TaskManagerName(l.Run)} {
				d, err := c.admin.AppsV1().Deployments(c.namespace).Get(t.Context(), name, metav1.GetOptions{})
				if err != nil || d.DeletionTimestamp != nil || len(d.OwnerReferences) != 1 || d.OwnerReferences[0].UID != anchor.UID {
					return name + " is not there, or another's"
				}
			}
			if o, _ := a.look(l.Run); len(o.Drift) != 0 || o.Launch == nil {
				return strings.Join(o.Drift, "; ")
			}
			return ""
		})
		anchor, err := maps.Get(t.Context(), render.Name(l.Run), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		last = anchor.UID
		if err := maps.Delete(t.Context(), anchor.Name, metav1.DeleteOptions{PropagationPolicy: &how}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARunIsPutBackAsItWasMadeWhateverThePlaceSaysNow(t *testing.T) {
	c := newCluster(t)
	l := launchOf(uid(1), 1)
	c.agent(c.config()).ensure(l)
	c.place.Images = map[string]string{"2.3": "flink:newer"}
	a := c.agent(c.config())
	c.eventually("another place is no drift of what runs", func() string {
		o, _ := a.look(l.Run)
		return strings.Join(o.Drift, "; ")
	})
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

func TestADefiniteNoIsARefusal(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
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
		_, err := c.admin.AppsV1().Deployments(c.namespace).Create(t.Context(), bareDeployment(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return exceeds("few", err)
	})
	if r := refused(launchOf(uid(1), 1)); r.Kind != flink.RefusedNoRoom || !strings.Contains(r.Error(), "quota") {
		t.Errorf("a quota: %v", r)
	}
	if err := c.admin.RbacV1().RoleBindings(c.namespace).Delete(t.Context(), agentUser, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the right is gone", func() string {
		r, ok := errors.AsType[*flink.Refusal](a.Ensure(t.Context(), launchOf(uid(3), 1)))
		if !ok || r.Kind != flink.RefusedTransient || r.Permanent() || !strings.Contains(r.Error(), "cannot create resource") {
			return "not refused as it should"
		}
		return ""
	})
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
	c.eventually("the missing Secret is told", func() string {
		o, _ := b.look(l.Run)
		if !slices.Contains(o.Drift, "Secret "+first.Name+" is missing") || !strings.Contains(o.JobManager.Waiting, "not found") {
			return fmt.Sprintf("told: %v, %s", o.Drift, o.JobManager.Waiting)
		}
		return ""
	})
	b.ensure(l)
	if again := get(); string(again.Data[render.KeyCA]) != string(first.Data[render.KeyCA]) || string(again.Data[render.KeyPassword]) != string(first.Data[render.KeyPassword]) {
		t.Error("another agent made other keys for the same run")
	}
}

// No watch shows a Secret: who deleted another object of the run may have deleted that too, while its pods are there.
func TestTheSecretIsPutBackWithWhateverElseIs(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	l := launchOf(uid(1), 1)
	a.ensure(l)
	secret, service := render.RESTName(l.Run), render.RESTName(l.Run)
	if err := c.admin.CoreV1().Secrets(c.namespace).Delete(t.Context(), secret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.admin.CoreV1().Services(c.namespace).Delete(t.Context(), service, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the Service is missed", func() string {
		if o, _ := a.look(l.Run); len(o.Drift) == 0 {
			return "nothing is"
		}
		return ""
	})
	a.ensure(l)
	if _, err := c.admin.CoreV1().Secrets(c.namespace).Get(t.Context(), secret, metav1.GetOptions{}); err != nil {
		t.Errorf("the Secret after all was put back: %v", err)
	}
}

// bareDeployment is the least that is taken for one.
func bareDeployment() *appsv1.Deployment {
	labels := map[string]string{"a": "b"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
			},
		},
	}
}

// exceeds says nothing where an object was kept out by a quota. Only that shows that admission has heard of the quota: its
// own status does not.
func exceeds(quota string, err error) string {
	if err == nil || !strings.Contains(err.Error(), "exceeded quota: "+quota) {
		return fmt.Sprintf("quota %s refuses nothing: %v", quota, err)
	}
	return ""
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
		d, err := c.admin.AppsV1().Deployments(c.namespace).Create(t.Context(), bareDeployment(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && d.Spec.Template.Spec.Containers[0].Image == "x" {
			return "not yet"
		}
		return errText(err)
	})
	a := c.agent(c.config())
	a.ensure(l)              // and the cluster's own word is no drift
	b := c.agent(c.config()) // another life of the agent learns it by one write
	b.ensure(l)
	// That one field is the cluster's hides nothing that a hand does to another, before it or after it.
	jm := render.JobManagerName(l.Run)
	for field, text := range map[string]string{
		"spec.replicas": `{"spec":{"replicas":0}}`,
		"spec.template.spec.terminationGracePeriodSeconds": `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}`,
	} {
		if _, err := c.admin.AppsV1().Deployments(c.namespace).Patch(t.Context(), jm, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
			t.Fatal(err)
		}
		c.eventually(field+" is told", func() string {
			o, _ := b.look(l.Run)
			if told := strings.Join(o.Drift, "; "); !strings.Contains(told, field) || strings.Contains(told, "image") {
				return "told: " + told
			}
			return ""
		})
		c.eventually(field+" is put back, and nothing is written after that", func() string {
			if err := b.Ensure(t.Context(), l); err != nil {
				return err.Error()
			}
			o, _ := b.look(l.Run)
			return strings.Join(o.Drift, "; ")
		})
	}
	before := c.versions()
	b.ensure(l)
	if after := c.versions(); !maps.Equal(before, after) {
		t.Errorf("written again though nothing differed: %v, then %v", before, after)
	}
}
