package render_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

var update = flag.Bool("update", false, "write the golden files anew")

const uid = "0123456789abcdef0123456789abcdef"

func launch(change func(*flink.Launch)) flink.Launch {
	l := flink.Launch{
		Run: flink.Run{UID: uid, Term: 2, Run: 3}, Tenant: "team-a", Name: "clicks", Generation: 7, Restart: 1,
		Spec: flink.Default(flink.Spec{
			Cluster: "eu-1", FlinkVersion: "2.3", Parallelism: 2,
			Jar:         flink.Jar{URI: "local:///opt/flink/usrlib/clicks.jar", EntryClass: "com.example.Clicks", Args: []string{"--rate", "100", "<&>"}},
			JobManager:  flink.Resources{CPU: "0.5", Memory: "512Mi"},
			TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "1500m", Memory: "1Gi"}, Slots: 2},
		}),
	}
	if change != nil {
		change(&l)
	}
	return l
}

func place(change func(*render.Place)) render.Place {
	p := render.Place{
		Namespace: "ww-team-a", Cluster: "c0ffee", StateRoot: "s3://state/prefix",
		Images:      map[string]string{"1.20": "registry.example.org/flink:1.20", "2.3": "registry.example.org/flink:2.3"},
		Credentials: render.Credentials{Secret: "state-storage"},
		Settings:    map[string]string{"s3.endpoint": "https://s3.example.org", "s3.path.style.access": "true", "rest.port": "1"},
		Agent:       render.Peer{Namespace: "waterwheel", Labels: map[string]string{"app.kubernetes.io/name": "waterwheel-agent"}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

// customers is a pod template as a platform team writes it.
func customers(component string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"cost-centre": "42"},
			Annotations: map[string]string{"sidecar.example.org/inject": "false"},
		},
		Spec: corev1.PodSpec{
			NodeSelector:              map[string]string{"pool": "streams"},
			Tolerations:               []corev1.Toleration{{Key: "streams", Operator: corev1.TolerationOpExists}},
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "topology.kubernetes.io/zone", WhenUnsatisfiable: corev1.ScheduleAnyway}},
			PriorityClassName:         "streams",
			ImagePullSecrets:          []corev1.LocalObjectReference{{Name: "pull"}},
			Volumes: []corev1.Volume{
				{Name: "certs", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "kafka-certs"}}}},
				{Name: "spool", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			InitContainers: []corev1.Container{{Name: "prepare", Image: "registry.example.org/prepare:1", Resources: some()}},
			Containers: []corev1.Container{
				{
					Name:         component,
					Env:          []corev1.EnvVar{{Name: "REGION", Value: "eu"}, {Name: "MALLOC_ARENA_MAX", Value: "4"}},
					VolumeMounts: []corev1.VolumeMount{{Name: "certs", MountPath: "/etc/kafka", ReadOnly: true}},
				},
				{
					Name: "shipper", Image: "registry.example.org/shipper:1", Resources: some(),
					VolumeMounts: []corev1.VolumeMount{{Name: "spool", MountPath: "/spool"}},
				},
			},
		},
	}
}

func some() corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}

// shapes are all forms that a run's objects take.
func shapes() map[string]struct {
	launch flink.Launch
	place  render.Place
} {
	type shape = struct {
		launch flink.Launch
		place  render.Place
	}
	return map[string]shape{
		"ha-2.3":  {launch(nil), place(nil)},
		"ha-1.20": {launch(func(l *flink.Launch) { l.Spec.FlinkVersion = "1.20" }), place(nil)},
		"stateless": {
			launch(func(l *flink.Launch) { l.Spec.UpgradeMode = flink.UpgradeStateless }),
			place(func(p *render.Place) { p.StateRoot, p.Cluster, p.Credentials = "", "", render.Credentials{} }),
		},
		"pod-template": {
			launch(func(l *flink.Launch) {
				l.Spec.Image = "registry.example.org/team/clicks@sha256:" + strings.Repeat("0", 64)
			}),
			place(func(p *render.Place) {
				p.JobManager, p.TaskManager = customers(render.JobManager), customers(render.TaskManager)
				p.ImagePullSecrets = []string{"pull", "more"}
				p.MetricsNamespaces = []string{"monitoring"}
			}),
		},
		"many-taskmanagers": {
			launch(func(l *flink.Launch) { l.Spec.Parallelism = 13 }),
			place(func(p *render.Place) {
				p.Credentials = render.Credentials{Secret: "azure", Keys: []string{"AZURE_KEY"}}
				p.TmpSize, p.CPULimitFactor = "50Gi", 2.5
			}),
		},
	}
}

func TestGoldenFiles(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			got := documents(t, s.launch, s.place)
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// documents are the bodies as they are applied, in order, the Secret and the job's Service too.
func documents(t *testing.T, l flink.Launch, p render.Place) string {
	t.Helper()
	var b strings.Builder
	for _, obj := range everything(t, l, p) {
		if cm, ok := obj.(*corev1.ConfigMap); ok {
			delete(cm.Data, "objects.json") // the documents below, once more
		}
		body, err := render.Apply(obj)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := yaml.JSONToYAML(body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n%s", doc)
	}
	return b.String()
}

const anchor = "6f1c7b1e-0000-4000-8000-000000000001"

func everything(t *testing.T, l flink.Launch, p render.Place) []render.Object {
	t.Helper()
	o, err := render.Run(l, p)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := render.JobService(l, p)
	if err != nil {
		t.Fatal(err)
	}
	keys := render.Keys{KeyStore: []byte("k"), TrustStore: []byte("t"), Client: []byte("c"), CA: []byte("ca"), Password: "secret"}
	return append(o.Owned(anchor).All(), render.Secret(l, p, keys, anchor), svc)
}
