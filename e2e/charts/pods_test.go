package charts_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// pod is a pod that a chart makes, by whatever means.
type pod struct {
	name   string
	labels map[string]string
	spec   corev1.PodSpec
}

func pods(objects []object) []pod {
	var out []pod
	for _, o := range objects {
		switch w := o.obj.(type) {
		case *appsv1.Deployment:
			out = append(out, pod{o.String(), w.Spec.Template.Labels, w.Spec.Template.Spec})
		case *appsv1.StatefulSet:
			out = append(out, pod{o.String(), w.Spec.Template.Labels, w.Spec.Template.Spec})
		case *batchv1.Job:
			out = append(out, pod{o.String(), w.Spec.Template.Labels, w.Spec.Template.Spec})
		case *corev1.Pod:
			out = append(out, pod{o.String(), w.Labels, w.Spec})
		}
	}

	return out
}

// Every pod fits a namespace that enforces the restricted standard.
func podsAreRestricted(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		for _, p := range pods(r[c]) {
			s := p.spec.SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: %s: %+v", c, p.name, s)
			}
			if p.spec.HostNetwork || p.spec.HostPID || p.spec.HostIPC {
				t.Errorf("%s: %s sees its host", c, p.name)
			}
			if token := p.spec.AutomountServiceAccountToken; token == nil || *token != (c.name == "agent") {
				t.Errorf("%s: %s takes a token: %v", c, p.name, token)
			}
			for _, v := range p.spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: %s mounts %s of its host", c, p.name, v.HostPath.Path)
				}
			}
			for _, k := range slices.Concat(p.spec.InitContainers, p.spec.Containers) {
				restricted(t, c.String()+": "+p.name+": "+k.Name, k)
			}
		}
	}
}

func restricted(t *testing.T, where string, k corev1.Container) {
	t.Helper()
	s := k.SecurityContext
	if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("%s: %+v", where, s)
	}
	if len(k.Command) == 0 {
		t.Errorf("%s relies on its image's entrypoint", where)
	}
	if k.Resources.Limits.Memory().IsZero() || k.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: resources are %v", where, k.Resources)
	}
	if strings.HasSuffix(k.Image, ":") || strings.HasSuffix(k.Image, ":latest") || !strings.ContainsAny(k.Image, ":@") {
		t.Errorf("%s: image is %q", where, k.Image)
	}
}

// selects tells that a selector finds the labels.
func selects(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}

	return sel.Matches(labels.Set(of))
}

// Selectors find the pods that they are meant for and no others: a pod of a hook must not count as a replica.
func selectors(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		objects := r[c]
		for _, o := range objects {
			var selector *metav1.LabelSelector
			switch w := o.obj.(type) {
			case *appsv1.Deployment:
				selector = w.Spec.Selector
			case *appsv1.StatefulSet:
				selector = w.Spec.Selector
			case *policyv1.PodDisruptionBudget:
				selector = w.Spec.Selector
			case *corev1.Service:
				selector = &metav1.LabelSelector{MatchLabels: w.Spec.Selector}
				ports(t, c, w, pods(objects))
			default:
				continue
			}
			for _, p := range pods(objects) {
				replica := strings.HasPrefix(p.name, "Deployment") || strings.HasPrefix(p.name, "StatefulSet")
				if got := selects(t, selector, p.labels); got != replica {
					t.Errorf("%s: %s selects %s: %v", c, o, p.name, got)
				}
			}
		}
	}
}

// ports checks that the ports of a Service have names in the pods behind it.
func ports(t *testing.T, c chart, s *corev1.Service, all []pod) {
	t.Helper()
	named := map[string]bool{}
	for _, p := range all {
		if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.labels)) {
			continue
		}
		for _, k := range p.spec.Containers {
			for _, port := range k.Ports {
				named[port.Name] = true
			}
		}
	}
	for _, port := range s.Spec.Ports {
		if !named[port.TargetPort.String()] {
			t.Errorf("%s: Service %s leads to port %s, and there are %v", c, s.Name, port.TargetPort.String(), slices.Sorted(maps.Keys(named)))
		}
	}
}

// Every probe asks at the port that other hosts may ask, and a slow start is not killed.
func probes(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		for _, p := range pods(r[c]) {
			if !strings.HasPrefix(p.name, "Deployment") && !strings.HasPrefix(p.name, "StatefulSet") {
				continue
			}
			k := p.spec.Containers[0]
			for what, probe := range map[string]*corev1.Probe{"startup": k.StartupProbe, "liveness": k.LivenessProbe, "readiness": k.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.String() != "health" {
					t.Errorf("%s: %s: %s probe is %v", c, p.name, what, probe)
				}
			}
			if wait := k.StartupProbe.PeriodSeconds * k.StartupProbe.FailureThreshold; wait < 60 {
				t.Errorf("%s: %s is killed after a start of %d s", c, p.name, wait)
			}
		}
	}
}

func theAgentReachesNothingElse(t *testing.T, r rendered) {
	t.Helper()
	var policy *networkingv1.NetworkPolicy
	for _, p := range of[*networkingv1.NetworkPolicy](r[chart{"agent", "full"}]) {
		if p.Name == "waterwheel-agent" {
			policy = p
		}
	}
	if policy == nil {
		t.Fatal("the agent has no policy")
	}
	var got []int
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			got = append(got, port.Port.IntValue())
		}
	}
	if want := []int{53, 53, 17443, 6443, 8081, 3128}; !slices.Equal(got, want) {
		t.Errorf("the agent may dial ports %v, want %v", got, want)
	}
	for _, p := range pods(r[chart{"agent", "full"}]) {
		if !selects(t, &policy.Spec.PodSelector, p.labels) {
			t.Errorf("%s is not under the agent's policy", p.name)
		}
	}
}

func theHubDialsNobody(t *testing.T, r rendered) {
	t.Helper()
	p := one[*networkingv1.NetworkPolicy](t, r[chart{"hub", "full"}])
	if !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) || len(p.Spec.Egress) != 0 {
		t.Errorf("the hub may dial %v", p.Spec.Egress)
	}
}

func theHubsVolume(t *testing.T, r rendered) {
	t.Helper()
	for values, want := range map[string]string{"minimal": "template", "full": "template", "claim": "claim", "ephemeral": "emptyDir"} {
		s := one[*appsv1.StatefulSet](t, r[chart{"hub", values}])
		got := "none"
		if len(s.Spec.VolumeClaimTemplates) == 1 && s.Spec.VolumeClaimTemplates[0].Name == "data" {
			got = "template"
		}
		for _, v := range s.Spec.Template.Spec.Volumes {
			switch {
			case v.Name != "data":
			case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "hub-data":
				got = "claim"
			case v.EmptyDir != nil:
				got = "emptyDir"
			}
		}
		if got != want || *s.Spec.Replicas != 1 {
			t.Errorf("%s: data lies in %s, want %s; replicas %d", values, got, want, *s.Spec.Replicas)
		}
	}
}
