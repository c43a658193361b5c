package charts_test

import (
	"strings"
	"testing"
)

// Wrong values are refused with the name of the value. A schema's refusals come all at once, one set of flags for each
// chart; what a template refuses comes alone.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		chart string
		set   map[string]string // flag → what the refusal has to say
	}{
		{"agent", map[string]string{
			"hub.adress=x:1":                            "adress",
			"hub.address=hub.example.org":               "/hub/address",
			"hub.caPin=sha256:12":                       "/hub/caPin",
			"replicas=two":                              "/replicas",
			"image.digest=md5:1":                        "/image/digest",
			"tenants[0].nmae=x":                         "nmae",
			"tenants[0].name=Shop":                      "/tenants/0/name",
			"stateStorage.root=bucket/prefix":           "/stateStorage/root",
			"flink.lease.duration=15":                   "/flink/lease/duration",
			"flink.images.two=flink:2":                  "'two'",
			"networkPolicy.hubCIDRs[0]=hub.example.org": "/networkPolicy/hubCIDRs/0",
			"removeJobsOnUninstall=maybe":               "/removeJobsOnUninstall",
			"podTemplate.jobManager.template.spec=x":    "template",
		}},
		{"agent", map[string]string{"hub.address=": "hub.address: name host:port"}},
		{"agent", map[string]string{"hub.trustDomain=": "waterwheel cluster invite NAME"}},
		{"agent", map[string]string{"hub.caPin=": "hub.caPin"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[0].namespace=waterwheel": "the agent's own namespace"}},
		{"agent", map[string]string{"tenants[0].name=default": "the namespace default, which is the cluster's"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[1].name=a": "a is there twice"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[1].name=b,tenants[1].namespace=a": "cannot share the namespace a"}},
		{"hub", map[string]string{
			"trustdomain=x":                            "trustdomain",
			"trustDomain=Example.org":                  "/trustDomain",
			"service.agents.type=ExternalName":         "/service/agents/type",
			"persistence.accessModes[0]=ReadWriteMany": "/persistence/accessModes/0",
			"replicas=2":                               "replicas",
			"certificateLife=1d":                       "/certificateLife",
			"agentsAddress=hub.example.org":            "/agentsAddress",
		}},
		{"hub", map[string]string{"service.agents.nodePort=30443": "service.agents.type"}},
		{"hub", map[string]string{"persistence.ephemeral=true,persistence.existingClaim=c": "choose one"}},
	} {
		c := chart{tc.chart, "minimal"}
		args := []string{"template", "ww", c.dir(), "-n", c.namespace(), "-f", c.file()}
		for set := range tc.set {
			args = append(args, "--set", set)
		}
		_, words, err := helm(t, args...)
		if err == nil {
			t.Errorf("%s takes --set %v", tc.chart, tc.set)

			continue
		}
		for set, want := range tc.set {
			if !strings.Contains(words, want) {
				t.Errorf("%s refuses --set %s without a word of %q:\n%s", tc.chart, set, want, words)
			}
		}
	}
}
