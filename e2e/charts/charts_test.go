package charts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/waterwheel-io/waterwheel/agent"
	"github.com/waterwheel-io/waterwheel/agent/rbac"
	"github.com/waterwheel-io/waterwheel/hub"
)

const keepPolicy = "helm.sh/resource-policy"

func TestLint(t *testing.T) {
	for _, c := range charts(t) {
		if out, words, err := helm(t, "lint", "--strict", c.dir(), "-n", c.namespace(), "-f", c.file()); err != nil {
			t.Errorf("%s: %v\n%s%s", c, err, out, words)
		}
	}
}

func everyObjectStandsWhereItShould(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		for _, o := range r[c] {
			switch ns := o.meta.GetNamespace(); {
			case o.kind() == "Namespace" || o.kind() == "CustomResourceDefinition":
				if ns != "" || c.name != "agent" {
					t.Errorf("%s: %s", c, o)
				}
			case strings.HasPrefix(o.kind(), "Cluster"):
				t.Errorf("%s: %s reaches over the whole cluster", c, o)
			case ns == "":
				t.Errorf("%s: %s names no namespace, so it depends on who installs it", c, o)
			case ns != c.namespace() && o.meta.GetLabels()["waterwheel.dev/tenant"] == "":
				t.Errorf("%s: %s stands outside of the release and is no tenant's", c, o)
			}
			if o.meta.GetLabels()["app.kubernetes.io/instance"] != "ww" {
				t.Errorf("%s: %s has not the release's labels", c, o)
			}
		}
	}
}

func theHubReadsItsFile(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		if c.name != "hub" {
			continue
		}
		text := one[*corev1.ConfigMap](t, r[c]).Data["hub.yaml"]
		file := filepath.Join(t.TempDir(), "hub.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := hub.LoadConfig(file)
		if err != nil {
			t.Errorf("%s: %v in\n%s", c, err, text)
		}
		for _, name := range []string{"localhost", "waterwheel-hub-agents." + hubSpace + ".svc", "waterwheel-hub-admin." + hubSpace + ".svc"} {
			if !slices.Contains(cfg.Names, name) {
				t.Errorf("%s: the certificate does not stand for %s", c, name)
			}
		}
		if c.values == "full" && (cfg.AdminAddr() != "admin.example.org:7444" || !slices.Contains(cfg.Names, "hub-2.example.org") || !cfg.Metrics.Public) {
			t.Errorf("%s: %+v", c, cfg)
		}
		if c.values == "minimal" && (cfg.AdminAddr() != "waterwheel-hub-admin.waterwheel-hub.svc:7444" || cfg.Metrics.Public || cfg.Health.Listen == "") {
			t.Errorf("%s: %+v", c, cfg)
		}
	}
}

func theAgentReadsItsFile(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range r.charts() {
		if c.name != "agent" {
			continue
		}
		file := filepath.Join(t.TempDir(), "agent.yaml")
		text := one[*corev1.ConfigMap](t, r[c]).Data["agent.yaml"]
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := agent.LoadConfig(file)
		if err != nil {
			t.Errorf("%s: %v in\n%s", c, err, text)

			continue
		}
		k := cfg.Runtime.Kubernetes
		if k.Namespace != agentSpace || k.Secrets.Join != rbac.JoinSecret || k.Secrets.Keys != rbac.KeysSecret ||
			k.Secrets.Identity != rbac.IdentitySecret || k.Records != rbac.RecordsMap || k.Election.Lease != rbac.ElectionLease {
			t.Errorf("%s: the file names other objects than it may touch: %+v", c, k)
		}
		images := map[string]string{"2.3": "flink:2.3-java17", "1.20": "flink:1.20-java17"}
		if c.values == "full" { // a version that its owner did not name is not there
			images = map[string]string{"2.3": "registry.example.org/flink:2.3.0"}
		}
		if diff := cmp.Diff(images, k.Images); diff != "" {
			t.Errorf("%s: images\n%s", c, diff)
		}
		if c.values != "full" {
			continue
		}
		shop := k.Tenants[1]
		want := map[string]string{
			"state.backend.type": "rocksdb", "s3.entropy.length": "2", "s3.upload.min.part.size": "100000000",
			"execution.checkpointing.unaligned.enabled": "true", "table.exec.resource.default-parallelism": "2",
			"s3.endpoint": "https://s3.example.org:9000", "s3.endpoint.region": "eu-1",
		}
		if diff := cmp.Diff(want, shop.Settings); diff != "" || shop.StateStorage.Root != "s3://shop/state" || shop.Credentials.Secret != "shop-storage" || len(shop.Credentials.Keys) != 3 {
			t.Errorf("%s: tenant shop is %+v\n%s", c, shop, diff)
		}
		if k.Lease.Duration != 2*time.Minute || k.CPULimitFactor != 2.5 || k.PodTemplate.TaskManager["metadata"] == nil || cfg.Hub.Address != "[2001:db8::7]:17443" || !cfg.Metrics.Public {
			t.Errorf("%s: %+v", c, cfg)
		}
	}
}

func theTokenIsInItsSecretAlone(t *testing.T, r rendered) {
	t.Helper()
	for values, token := range map[string]string{"minimal": "one-time-token-of-the-test", "full": `one, time: token"of the {test}`} {
		found := 0
		for _, o := range r[chart{"agent", values}] {
			if secret, ok := o.obj.(*corev1.Secret); ok {
				if found++; secret.Name != "waterwheel-agent-join" || secret.StringData["token"] != token {
					t.Errorf("%s holds %v", o, secret.StringData)
				}

				continue
			}
			if strings.Contains(o.text, "one-time-token") || strings.Contains(o.text, "of the {test}") {
				t.Errorf("%s holds the token", o)
			}
		}
		if found != 1 {
			t.Errorf("%s: %d Secrets", values, found)
		}
	}
	if n := len(of[*corev1.Secret](r[chart{"agent", "bare"}])); n != 0 {
		t.Errorf("without a token there are %d Secrets", n)
	}
}

// What jobs need must outlive the chart; what only the agent needs must not.
func whatStaysAfterAnUninstall(t *testing.T, r rendered) {
	t.Helper()
	for _, c := range []chart{{"agent", "minimal"}, {"agent", "full"}} {
		for _, o := range r[c] {
			if isHook(o.meta) {
				continue
			}
			inTenant := o.meta.GetLabels()["waterwheel.dev/tenant"] != ""
			agents := o.meta.GetName() == "waterwheel-agent"
			want := o.kind() == "CustomResourceDefinition" || inTenant && !agents
			if got := o.meta.GetAnnotations()[keepPolicy] == "keep"; got != want {
				t.Errorf("%s: %s stays: %v, want %v", c, o, got, want)
			}
		}
	}
	objects := r[chart{"agent", "remove"}]
	for _, o := range objects {
		if o.meta.GetAnnotations()[keepPolicy] != "" {
			t.Errorf("%s stays though the chart was told to take all along", o)
		}
	}
	down := one[*batchv1.Job](t, objects)
	if down.Annotations["helm.sh/hook"] != "pre-delete" || !slices.Equal(down.Spec.Template.Spec.Containers[0].Args[:1], []string{"down"}) {
		t.Errorf("before it goes there is %v %v", down.Annotations, down.Spec.Template.Spec.Containers[0].Args)
	}
	if n := len(of[*batchv1.Job](r[chart{"agent", "minimal"}])); n != 0 {
		t.Errorf("%d Jobs in a chart that keeps jobs", n)
	}
}

func aRemovedTenantsNamespaceStays(t *testing.T, r rendered) {
	t.Helper()
	for _, ns := range of[*corev1.Namespace](r[chart{"agent", "minimal"}]) {
		if ns.Annotations[keepPolicy] != "keep" || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Errorf("namespace %s: %v %v", ns.Name, ns.Labels, ns.Annotations)
		}
	}
	spaces := of[*corev1.Namespace](r[chart{"agent", "full"}])
	if len(spaces) != 1 || spaces[0].Name != "shop" || spaces[0].Labels["team"] != "shop" || spaces[0].Annotations["owner"] == "" {
		t.Errorf("with create: false for one of two tenants, namespaces are %v", spaces)
	}
	quota := one[*corev1.ResourceQuota](t, r[chart{"agent", "full"}])
	if got := quota.Spec.Hard["limits.cpu"]; got.String() != "8" || quota.Namespace != "shop" {
		t.Errorf("quota is %v in %s", quota.Spec.Hard, quota.Namespace)
	}
}

func theCustomResourceIsTheFile(t *testing.T, r rendered) {
	t.Helper()
	for _, o := range r[chart{"agent", "minimal"}] {
		if o.kind() == "CustomResourceDefinition" && o.meta.GetName() != "flinkjobs.agent.waterwheel.dev" {
			t.Errorf("the custom resource is %s", o)
		}
	}
	for _, o := range r[chart{"agent", "bare"}] {
		if o.kind() == "CustomResourceDefinition" {
			t.Errorf("crd.create: false, and there is %s", o)
		}
	}
}
