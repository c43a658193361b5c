package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// pod is a place in Kubernetes.
func pod(version string, change func(*config.Place)) config.Place {
	p := config.Place{
		FlinkVersion: version, StateRoot: "s3://state/prefix", Upload: "/tmp/web",
		Settings: map[string]string{
			"s3.endpoint": "https://s3.example.org", "execution.checkpointing.num-retained": "7", "heartbeat.timeout": "30000",
			"rest.port": "1", "kubernetes.namespace": "kube-system",
		},
		Kubernetes: &config.Kubernetes{
			ClusterID: "ju1-t2-r3", Namespace: "ww-default", HA: true, RPC: "ju1-t2-r3-rpc",
			KeyStore: "/etc/keys/keystore.p12", TrustStore: "/etc/keys/truststore.p12", Metrics: 9249,
		},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func stateless(p *config.Place) {
	p.StateRoot, p.Settings = "", nil
	p.Kubernetes.HA, p.Kubernetes.KeyStore, p.Kubernetes.TrustStore, p.Kubernetes.Metrics = false, "", "", 0
}

func TestGoldenFilesOfKubernetes(t *testing.T) {
	for file, tc := range map[string]struct {
		version string
		launch  func(*flink.Spec)
		place   func(*config.Place)
	}{
		"1.20.5-kubernetes.golden":          {version: "1.20.5"},
		"2.3.0-kubernetes.golden":           {version: "2.3.0"},
		"1.20-kubernetes-stateless.golden":  {"1.20", func(s *flink.Spec) { s.UpgradeMode = flink.UpgradeStateless }, stateless},
		"2.3.0-kubernetes-stateless.golden": {"2.3.0", func(s *flink.Spec) { s.UpgradeMode = flink.UpgradeStateless }, stateless},
	} {
		t.Run(file, func(t *testing.T) {
			c, err := config.For(launch(tc.launch), pod(tc.version, tc.place))
			if err != nil {
				t.Fatal(err)
			}
			got := render(c) + "\n# log4j.properties\n" + c.Log4j
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", file), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheLastWordIsKnown holds each setting against who may set it: product, then place, then spec, and the reserved ones nobody.
func TestTheLastWordIsKnown(t *testing.T) {
	c, err := config.For(launch(nil), pod("2.3.0", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"heartbeat.timeout: 30000",                // the place's, over the product's 12000
		"execution.checkpointing.num-retained: 5", // the spec's, over the place's 7
		"s3.endpoint: https://s3.example.org",
		"rest.port: 8081",
		"kubernetes.namespace: ww-default",
		"high-availability.type: kubernetes",
		"execution.checkpointing.dir: s3://state/prefix/default/u1/t2/r3/checkpoints",
	} {
		if !strings.Contains("\n"+c.YAML, "\n"+line+"\n") {
			t.Errorf("%q is not there:\n%s", line, c.YAML)
		}
	}
}

func TestEveryFixedSettingIsReserved(t *testing.T) {
	free := func(yaml string) map[string]bool {
		keys := make(map[string]bool)
		for line := range strings.Lines(yaml) {
			key, _, _ := strings.Cut(line, ":")
			keys[key] = true
		}
		return keys
	}
	for name, place := range map[string]config.Place{"host": place("2.3.0"), "kubernetes": pod("2.3.0", nil), "stateless": pod("2.3.0", stateless)} {
		l := launch(func(s *flink.Spec) {
			s.UpgradeMode = flink.UpgradeStateless
			s.FlinkConfiguration = map[string]string{"zz.marker": "1"}
		})
		c, err := config.For(l, place)
		if err != nil {
			t.Fatal(err)
		}
		_, fixed, ok := strings.Cut(c.YAML, "zz.marker: 1\n")
		if !ok {
			t.Fatalf("%s: no setting of the spec:\n%s", name, c.YAML)
		}
		for key := range free(fixed) {
			if _, reserved := flink.ReservedKey(key); !reserved {
				t.Errorf("%s: %s overrides what a spec may say", name, key)
			}
		}
	}
}

func TestOnlyObjectStoresOfS3AreToldToFailInTime(t *testing.T) {
	for root, want := range map[string]bool{"s3://b/p": true, "s3a://b/p": true, "s3p://b": false, "gs://b/p": false, "file:///s": false} {
		c, err := config.For(launch(nil), pod("2.3.0", func(p *config.Place) { p.StateRoot = root }))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(c.YAML, "s3.retry.limit: 2"); got != want {
			t.Errorf("%s: bounded retries: %t", root, got)
		}
	}
	c, err := config.For(launch(func(s *flink.Spec) { s.FlinkConfiguration = map[string]string{"s3.retry.limit": "9"} }), pod("2.3.0", nil))
	if err != nil || !strings.Contains(c.YAML, "s3.retry.limit: 9") {
		t.Errorf("a spec's own limit is not taken: %v", err)
	}
}

func TestAPlaceInKubernetesThatCannotWorkIsRefused(t *testing.T) {
	for want, change := range map[string]func(*config.Place){
		"spec.stateStorage.root is empty":             func(p *config.Place) { p.StateRoot = "" },
		"a cluster id and a namespace":                func(p *config.Place) { p.Kubernetes.ClusterID = "" },
		"host name":                                   func(p *config.Place) { p.Kubernetes.HA, p.Kubernetes.RPC = false, "" },
		"a key store and a trust store":               func(p *config.Place) { p.Kubernetes.TrustStore = "" },
		"retry period 2s < renew deadline 10s < dura": func(p *config.Place) { p.Kubernetes.Lease.Duration = 5 * time.Second },
		"retry period 10s < renew deadline 10s":       func(p *config.Place) { p.Kubernetes.Lease.RetryPeriod = 10 * time.Second },
	} {
		if _, err := config.For(launch(nil), pod("2.3.0", change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
