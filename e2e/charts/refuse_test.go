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
			"hub.adress=x:1":                         "adress",
			"replicas=two":                           "/replicas",
			"tenants[0].nmae=x":                      "nmae",
			"flink.lease.duration=15":                "/flink/lease/duration",
			"removeJobsOnUninstall=maybe":            "/removeJobsOnUninstall",
			"podTemplate.jobManager.template.spec=x": "template",
		}},
		{"agent", map[string]string{
			"hub.address=hub.example.org":                   `hub.address: "hub.example.org" is not host:port, such as hub.example.org:7443`,
			"hub.trustDomain=Example.org":                   `hub.trustDomain: "Example.org" is no trust domain`,
			"hub.caPin=sha256:12":                           `hub.caPin: "sha256:12" is no pin, which is sha256: and 64 hex digits`,
			"hub.ca=pem":                                    "hub.ca: has no certificate in PEM",
			"image.digest=md5:1":                            `image.digest: "md5:1" is no digest`,
			"tenants[0].name=Shop":                          `tenants[0].name: "Shop" is no tenant`,
			"tenants[0].namespace=Shop":                     `tenants[0].namespace: "Shop" is no namespace`,
			"tenants[0].stateStorage.endpoint=storage:9000": `tenants[0].stateStorage.endpoint: "storage:9000" is no URL`,
			"stateStorage.root=bucket/prefix":               `stateStorage.root: "bucket/prefix" is no place in a storage, such as s3://bucket/prefix`,
			"flink.lease.duration=soon":                     `flink.lease.duration: "soon" is no length of time, such as 15s`,
			"election.retryPeriod=1d":                       `election.retryPeriod: "1d" is no length of time`,
			"flink.images.two=flink:2":                      `flink.images: "two" is no Flink version`,
			"networkPolicy.hubCIDRs[0]=hub.example.org":     `networkPolicy.hubCIDRs[0]: "hub.example.org" is no block of addresses`,
		}},
		{"agent", map[string]string{"hub.address=https://hub.example.org:7443": "without https://"}},
		{"agent", map[string]string{"hub.address=hub.example.org:99999": "no port between 1 and 65535"}},
		{"agent", map[string]string{"hub.address=": "hub.address: name host:port"}},
		{"agent", map[string]string{"hub.trustDomain=": "waterwheel cluster invite NAME"}},
		{"agent", map[string]string{"hub.caPin=": "hub.caPin"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[0].namespace=waterwheel": "the agent's own namespace"}},
		{"agent", map[string]string{"tenants[0].name=default": "the namespace default, which is the cluster's"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[1].name=a": "a is there twice"}},
		{"agent", map[string]string{"tenants[0].name=a,tenants[1].name=b,tenants[1].namespace=a": "cannot share the namespace a"}},
		{"hub", map[string]string{
			"trustdomain=x":                            "trustdomain",
			"service.agents.type=ExternalName":         "/service/agents/type",
			"persistence.accessModes[0]=ReadWriteMany": "/persistence/accessModes/0",
			"replicas=2":                               "replicas",
		}},
		{"hub", map[string]string{
			"trustDomain=Example.org":       `trustDomain: "Example.org" is no trust domain`,
			"certificateLife=1d":            `certificateLife: "1d" is no length of time, such as 24h`,
			"agentsAddress=hub.example.org": `agentsAddress: "hub.example.org" is not host:port`,
			"adminAddress=hub:0":            `adminAddress: "hub:0" has no port between 1 and 65535`,
			"persistence.size=big":          `persistence.size: "big" is no size, such as 5Gi`,
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
