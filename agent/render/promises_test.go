package render_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestEveryDocumentIsStrictlyOfItsKind(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			for _, doc := range strings.Split(documents(t, s.launch, s.place), "---\n")[1:] {
				var head struct{ APIVersion, Kind string }
				if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
					t.Fatal(err)
				}
				into, ok := map[string]any{
					"v1/ConfigMap": &corev1.ConfigMap{}, "v1/Secret": &corev1.Secret{}, "v1/Service": &corev1.Service{},
					"apps/v1/Deployment": &appsv1.Deployment{}, "networking.k8s.io/v1/NetworkPolicy": &networkingv1.NetworkPolicy{},
				}[head.APIVersion+"/"+head.Kind]
				if !ok {
					t.Fatalf("%s of %s is nothing that a run is made of", head.Kind, head.APIVersion)
				}
				if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
					t.Errorf("%s: %v", head.Kind, err)
				}
			}
		})
	}
}

func TestApplyClaimsOnlyWhatWasSaid(t *testing.T) {
	for name, s := range shapes() {
		for _, obj := range everything(t, s.launch, s.place) {
			body, err := render.Apply(obj)
			if err != nil {
				t.Fatal(err)
			}
			var fields map[string]any
			if err := json.Unmarshal(body, &fields); err != nil {
				t.Fatal(err)
			}
			if _, ok := fields["status"]; ok {
				t.Errorf("%s: %s claims its status", name, obj.GetName())
			}
			if path := nothing("", fields); path != "" {
				t.Errorf("%s: %s claims %s, and says nothing there", name, obj.GetName(), path)
			}
		}
	}
}

// nothing is the path of a null, an empty list, or an empty object where no API reads a choice from it.
func nothing(path string, v any) string {
	switch v := v.(type) {
	case nil:
		return path
	case []any:
		if len(v) == 0 {
			return path
		}
		for _, item := range v {
			if p := nothing(path+"[]", item); p != "" {
				return p
			}
		}
	case map[string]any:
		if len(v) == 0 && !slices.Contains([]string{"namespaceSelector", "emptyDir"}, path[strings.LastIndexByte(path, '.')+1:]) {
			return path
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if p := nothing(path+"."+key, v[key]); p != "" {
				return p
			}
		}
	}
	return ""
}

func TestAllIsOwnedByTheAnchorAndStartsWithIt(t *testing.T) {
	for name, s := range shapes() {
		o, err := render.Run(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		owned := o.Owned(anchor).All()
		if owned[0].GetName() != render.Name(s.launch.Run) || len(owned[0].GetOwnerReferences()) != 0 {
			t.Errorf("%s: %s is first, owned by %v", name, owned[0].GetName(), owned[0].GetOwnerReferences())
		}
		for _, obj := range owned[1:] {
			refs := obj.GetOwnerReferences()
			if len(refs) != 1 || refs[0].UID != anchor || refs[0].Kind != "ConfigMap" || refs[0].Name != owned[0].GetName() {
				t.Errorf("%s: %s is owned by %v", name, obj.GetName(), refs)
			}
			if run, ok := render.RunOf(obj.GetLabels()); !ok || run != s.launch.Run {
				t.Errorf("%s: %s says it is of run %s, %t", name, obj.GetName(), run, ok)
			}
		}
		for _, obj := range o.All() {
			if len(obj.GetOwnerReferences()) != 0 {
				t.Errorf("%s: Owned changed %s itself", name, obj.GetName())
			}
		}
		svc, err := render.JobService(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := render.RunOf(svc.Labels); ok || len(svc.OwnerReferences) != 0 {
			t.Errorf("%s: the job's Service goes with a run", name)
		}
	}
}

func TestAnAnchorRemembersItsRun(t *testing.T) {
	for name, s := range shapes() {
		o, err := render.Run(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		l, err := render.LaunchOf(o.ConfigMap)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.launch, l); diff != "" {
			t.Errorf("%s: the launch (-was +read):\n%s", name, diff)
		}
		live := o.ConfigMap.DeepCopy()
		live.UID, live.ResourceVersion, live.ManagedFields = anchor, "17", nil
		again, err := render.ObjectsOf(live)
		if err != nil {
			t.Fatal(err)
		}
		want, got := o.Owned(anchor).All(), again.All()
		if len(want) != len(got) {
			t.Fatalf("%s: %d objects were made, %d are on record", name, len(want), len(got))
		}
		for i := range want {
			a, _ := render.Apply(want[i])
			b, _ := render.Apply(got[i])
			if diff := cmp.Diff(string(a), string(b)); diff != "" {
				t.Errorf("%s: %s (-made +read):\n%s", name, want[i].GetName(), diff)
			}
		}
	}
}

func TestAnAnchorOfAnotherRunIsNoRecord(t *testing.T) {
	o, err := render.Run(launch(nil), place(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*corev1.ConfigMap){
		"labels of another run": func(cm *corev1.ConfigMap) { cm.Labels[render.LabelRun] = "4" },
		"no labels":             func(cm *corev1.ConfigMap) { cm.Labels = nil },
		"a copy":                func(cm *corev1.ConfigMap) { cm.Name = "copy" },
		"no launch":             func(cm *corev1.ConfigMap) { delete(cm.Data, "launch.json") },
	} {
		cm := o.ConfigMap.DeepCopy()
		change(cm)
		if l, err := render.LaunchOf(cm); err == nil {
			t.Errorf("%s: taken for %s", name, l.Run)
		}
	}
	for _, data := range []string{"", "[]", "{", `[{"kind":"Pod","metadata":{"name":"x"}}]`} {
		cm := o.ConfigMap.DeepCopy()
		cm.Data["objects.json"] = data
		if _, err := render.ObjectsOf(cm); err == nil {
			t.Errorf("%q was taken for a record of objects", data)
		}
	}
}

func TestSpecHashTellsSpecsApart(t *testing.T) {
	a := launch(nil).Spec
	b := a.Clone()
	b.FlinkConfiguration, b.Jar.Args = map[string]string{}, slices.Clone(a.Jar.Args)
	if render.SpecHash(a) != render.SpecHash(b) {
		t.Error("an empty map is not a missing one")
	}
	b.Jar.Args[1] = "101"
	if render.SpecHash(a) == render.SpecHash(b) {
		t.Error("an argument changed, the hash did not")
	}
}

// TestNamesAreLegalForEveryJob draws jobs as the domain allows them, at the ends of what they may be.
func TestNamesAreLegalForEveryJob(t *testing.T) {
	name := rapid.OneOf(rapid.StringMatching(`[a-z]([-a-z0-9]{0,43}[a-z0-9])?`), rapid.StringMatching(`[a-z][-a-z0-9]{43}[a-z0-9]`))
	count := rapid.OneOf(rapid.Int32Range(1, 1<<31-1), rapid.Just(int32(1<<31-1)))
	rapid.Check(t, func(t *rapid.T) {
		l := launch(func(l *flink.Launch) {
			l.Run = flink.Run{UID: rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "uid"), Term: count.Draw(t, "term"), Run: count.Draw(t, "run")}
			l.Name, l.Tenant = name.Draw(t, "name"), name.Draw(t, "tenant")
		})
		p := place(func(p *render.Place) {
			if rapid.Bool().Draw(t, "stateless") {
				p.StateRoot, l.Spec.UpgradeMode = "", flink.UpgradeStateless
			}
		})
		if faults := flink.Validate(l.Tenant, l.Name, nil, l.Spec); len(faults) > 0 {
			t.Fatalf("no job that the domain allows: %v", faults)
		}
		o, err := render.Run(l, p)
		if err != nil {
			t.Fatal(err)
		}
		svc, err := render.JobService(l, p)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, obj := range append(o.All(), render.Secret(l, p, render.Keys{}, anchor), svc) {
			kind := obj.GetObjectKind().GroupVersionKind().Kind
			if seen[kind+obj.GetName()] {
				t.Fatalf("two of %s %s", kind, obj.GetName())
			}
			seen[kind+obj.GetName()] = true
			legal := validation.IsDNS1123Label(obj.GetName())
			if kind == "Service" {
				legal = validation.IsDNS1035Label(obj.GetName())
			}
			if len(legal) > 0 {
				t.Fatalf("%s %q: %v", kind, obj.GetName(), legal)
			}
			all := []map[string]string{obj.GetLabels()}
			if d, ok := obj.(*appsv1.Deployment); ok {
				all = append(all, d.Spec.Template.Labels, d.Spec.Selector.MatchLabels)
				if matched(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels) != len(d.Spec.Selector.MatchLabels) {
					t.Fatalf("%s does not select its own pods", d.Name)
				}
			}
			for _, labels := range all {
				for k, v := range labels {
					if bad := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...); len(bad) > 0 {
						t.Fatalf("label %s=%q: %v", k, v, bad)
					}
				}
			}
		}
		if bad := validation.IsValidLabelValue(render.Name(l.Run)); len(bad) > 0 {
			t.Fatalf("cluster id: %v", bad)
		}
		for _, flinks := range []string{render.LeaderConfigMap(l.Run), render.CheckpointConfigMap(l.Run)} {
			if bad := validation.IsDNS1123Subdomain(flinks); len(bad) > 0 {
				t.Fatalf("%s: %v", flinks, bad)
			}
		}
	})
}

func matched(selector, labels map[string]string) (n int) {
	for k, v := range selector {
		if labels[k] == v {
			n++
		}
	}
	return n
}

func TestRefusalsNameTheFieldAndTheRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		launch func(*flink.Launch)
		place  func(*render.Place)
		kind   flink.RefusalKind
		want   []string
	}{
		"jar of a host": {
			launch: func(l *flink.Launch) { l.Spec.Jar.URI = "file:///home/me/clicks.jar" },
			kind:   flink.RefusedJar, want: []string{"spec.jar.uri", "local:///opt/flink/usrlib/clicks.jar"},
		},
		"jar of a bucket": {
			launch: func(l *flink.Launch) { l.Spec.Jar.URI = "s3://jars/clicks.jar" },
			kind:   flink.RefusedJar, want: []string{"spec.jar.uri", "local:///opt/flink/usrlib/"},
		},
		"jar elsewhere in the image": {
			launch: func(l *flink.Launch) { l.Spec.Jar.URI = "local:///opt/flink/usrlib/../lib/x.jar" },
			kind:   flink.RefusedJar, want: []string{"spec.jar.uri"},
		},
		"no image of the version": {
			launch: func(l *flink.Launch) { l.Spec.FlinkVersion = "2.4" },
			kind:   flink.RefusedVersion, want: []string{"2.4", "1.20, 2.3", "spec.image"},
		},
		"no images": {
			place: func(p *render.Place) { p.Images = nil },
			kind:  flink.RefusedVersion, want: []string{"no images at all"},
		},
		"state nowhere": {
			place: func(p *render.Place) { p.StateRoot = "" },
			kind:  flink.RefusedProgram, want: []string{"spec.stateStorage.root", "stateless"},
		},
		"state in the pod": {
			launch: func(l *flink.Launch) { l.Spec.StateStorage.Root = "file:///state" },
			kind:   flink.RefusedProgram, want: []string{"spec.stateStorage.root", "s3://"},
		},
		"too little memory": {
			launch: func(l *flink.Launch) { l.Spec.JobManager.Memory = "64Mi" },
			kind:   flink.RefusedProgram, want: []string{"spec.jobManager.memory"},
		},
		"a job named like a run": {
			launch: func(l *flink.Launch) { l.Name = "j" + uid + "-t1-r1" },
			kind:   flink.RefusedProgram, want: []string{"metadata.name"},
		},
		"a uid that is no name": {
			launch: func(l *flink.Launch) { l.Run.UID = "A/B" },
			kind:   flink.RefusedProgram, want: []string{"uid"},
		},
		"no agent": {
			place: func(p *render.Place) { p.Agent.Labels = nil },
			kind:  flink.RefusedProgram, want: []string{"agent"},
		},
		"less CPU than was asked for": {
			place: func(p *render.Place) { p.CPULimitFactor = 0.5 },
			kind:  flink.RefusedProgram, want: []string{"CPU limit", "1 to 100"},
		},
		"no size": {
			place: func(p *render.Place) { p.TmpSize = "lots" },
			kind:  flink.RefusedProgram, want: []string{"/tmp", "10Gi"},
		},
		"a lease that ends before it is renewed": {
			place: func(p *render.Place) { p.Lease.RenewDeadline = 20e9 },
			kind:  flink.RefusedProgram, want: []string{"lease", "20s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render.Run(launch(tc.launch), place(tc.place))
			refusal, ok := errors.AsType[*flink.Refusal](err)
			if !ok || refusal.Kind != tc.kind {
				t.Fatalf("got %v, want a refusal of kind %s", err, tc.kind)
			}
			for _, word := range tc.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
		})
	}
}

func TestStateOnAVolumeOfThePlaceIsTaken(t *testing.T) {
	volume := func(component string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "nfs", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "state"},
			}}},
			Containers: []corev1.Container{{Name: component, VolumeMounts: []corev1.VolumeMount{{Name: "nfs", MountPath: "/state"}}}},
		}}
	}
	p := place(func(p *render.Place) {
		p.StateRoot = "file:///state/jobs"
		p.JobManager, p.TaskManager = volume(render.JobManager), volume(render.TaskManager)
	})
	if _, err := render.Run(launch(nil), p); err != nil {
		t.Error(err)
	}
	p.TaskManager = corev1.PodTemplateSpec{}
	if _, err := render.Run(launch(nil), p); err == nil {
		t.Error("TaskManagers without the volume would write into nowhere")
	}
}

func TestOnlyAJobManagerThatNeedsTheAPIHasAToken(t *testing.T) {
	for name, s := range shapes() {
		o, err := render.Run(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		ha := s.place.StateRoot != ""
		for _, d := range []*appsv1.Deployment{o.JobManager, o.TaskManager} {
			if got := *d.Spec.Template.Spec.AutomountServiceAccountToken; got != ha {
				t.Errorf("%s: %s has a token: %t", name, d.Name, got)
			}
		}
		if (o.RPC == nil) != ha {
			t.Errorf("%s: high availability %t, RPC Service %v", name, ha, o.RPC)
		}
	}
}

func TestNoPasswordIsInAnythingButTheSecret(t *testing.T) {
	keys := render.Keys{Password: "correct-horse"}
	for name, s := range shapes() {
		o, err := render.Run(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		secret := render.Secret(s.launch, s.place, keys, anchor)
		if string(secret.Data["password"]) != keys.Password || secret.Name != render.RESTName(s.launch.Run) {
			t.Errorf("%s: Secret %s holds %q", name, secret.Name, secret.Data["password"])
		}
		if strings.Contains(o.ConfigMap.Data["config.yaml"], "password") {
			t.Errorf("%s: the ConfigMap speaks of passwords", name)
		}
		args := strings.Join(o.JobManager.Spec.Template.Spec.Containers[0].Args, " ")
		if !strings.Contains(args, "security.ssl.rest.key-password=$(REST_PASSWORD)") {
			t.Errorf("%s: the JobManager is not told its password: %s", name, args)
		}
	}
}

func TestAJarNameIsNoReferenceToAVariable(t *testing.T) {
	o, err := render.Run(launch(func(l *flink.Launch) { l.Spec.Jar.URI = "local:///opt/flink/usrlib/$(REST_PASSWORD).jar" }), place(nil))
	if err != nil {
		t.Fatal(err)
	}
	inits := o.JobManager.Spec.Template.Spec.InitContainers
	if got := inits[0].Command[2]; got != "/opt/flink/usrlib/$$(REST_PASSWORD).jar" {
		t.Errorf("the kubelet reads %s", got)
	}
}
