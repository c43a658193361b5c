package charts_test

import (
	"strings"
	"testing"
)

// Wrong values are refused with the name of the value.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		chart string
		set   string
		want  []string
	}{
		{"agent", "hub.adress=x:1", []string{"adress"}},
		{"agent", "hub.address=hub.example.org", []string{"/hub/address"}},
		{"agent", "hub.address=", []string{"hub.address", "cluster invite"}},
		{"agent", "hub.trustDomain=", []string{"hub.trustDomain", "cluster invite"}},
		{"agent", "hub.caPin=", []string{"hub.caPin", "cluster invite"}},
		{"agent", "hub.caPin=sha256:12", []string{"/hub/caPin"}},
		{"agent", "replicas=two", []string{"/replicas"}},
		{"agent", "image.digest=md5:1", []string{"/image/digest"}},
		{"agent", "tenants[0].nmae=x", []string{"nmae"}},
		{"agent", "tenants[0].name=Shop", []string{"/tenants/0/name"}},
		{"agent", "tenants[0].name=default,tenants[0].namespace=waterwheel", []string{"the agent's own namespace"}},
		{"agent", "tenants[0].name=default,tenants[0].namespace=", []string{"the namespace default, which is the cluster's"}},
		{"agent", "tenants[0].name=a,tenants[0].namespace=kube-system", []string{"which is the cluster's"}},
		{"agent", "tenants[0].name=a,tenants[1].name=a", []string{"a is there twice"}},
		{"agent", "tenants[0].name=a,tenants[1].name=b,tenants[1].namespace=a", []string{"cannot share the namespace a"}},
		{"agent", "stateStorage.root=bucket/prefix", []string{"/stateStorage/root"}},
		{"agent", "flink.lease.duration=15", []string{"/flink/lease/duration"}},
		{"agent", "flink.images.two=flink:2", []string{"/flink/images"}},
		{"agent", "networkPolicy.hubCIDRs[0]=hub.example.org", []string{"/networkPolicy/hubCIDRs/0"}},
		{"agent", "removeJobsOnUninstall=maybe", []string{"/removeJobsOnUninstall"}},
		{"hub", "trustdomain=x", []string{"trustdomain"}},
		{"hub", "trustDomain=Example.org", []string{"/trustDomain"}},
		{"hub", "service.agents.type=ExternalName", []string{"/service/agents/type"}},
		{"hub", "service.agents.nodePort=30443", []string{"service.agents.nodePort", "service.agents.type"}},
		{"hub", "persistence.ephemeral=true,persistence.existingClaim=c", []string{"choose one"}},
		{"hub", "persistence.accessModes[0]=ReadWriteMany", []string{"/persistence/accessModes/0"}},
		{"hub", "replicas=2", []string{"replicas"}},
		{"hub", "certificateLife=1d", []string{"/certificateLife"}},
		{"hub", "agentsAddress=hub.example.org", []string{"/agentsAddress"}},
	} {
		c := chart{tc.chart, "minimal"}
		_, words, err := helm(t, "template", "ww", c.dir(), "-n", c.namespace(), "-f", c.file(), "--set", tc.set)
		if err == nil {
			t.Errorf("%s takes --set %s", tc.chart, tc.set)

			continue
		}
		words = strings.ReplaceAll(words, ".", "/") + words // Helm names a place with either
		for _, w := range tc.want {
			if !strings.Contains(words, w) {
				t.Errorf("%s refuses --set %s without a word of %q:\n%s", tc.chart, tc.set, w, words)
			}
		}
	}
}
