package cluster

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
)

func handleFor(m engine.Machine) *Cluster {
	return &Cluster{Name: "ww-x", dir: "/state/ww-x", engine: &engine.Engine{Machine: m}}
}

func TestTheConfigurationFitsTheMachineAndTheImage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		machine     engine.Machine
		image       string
		noCNI, v1Ok bool
	}{
		"built here, old control groups":  {engine.Machine{CgroupV1: true}, "waterwheel/node:abc", true, true},
		"kind's own, new control groups":  {engine.Machine{}, "kindest/node:v1.37.0@sha256:0", false, false},
		"a name that only begins as ours": {engine.Machine{}, "waterwheel/node-other:1", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := kindConfig(handleFor(tc.machine), Options{Image: tc.image})
			if got := conf.Networking.DisableDefaultCNI; got != tc.noCNI {
				t.Errorf("default network disabled: %t, want %t", got, tc.noCNI)
			}
			allowed := slices.ContainsFunc(conf.KubeadmConfigPatches, func(p string) bool {
				return strings.Contains(p, "failCgroupV1: false")
			})
			if allowed != tc.v1Ok {
				t.Errorf("version 1 of control groups allowed: %t, want %t", allowed, tc.v1Ok)
			}
			if len(conf.Nodes) != 1 || len(conf.KubeadmConfigPatchesJSON6902) != 0 {
				t.Errorf("nodes %d, patches %d; want one node and no audit log that nobody asked for", len(conf.Nodes), len(conf.KubeadmConfigPatchesJSON6902))
			}
		})
	}
}

func TestMountsPortsAndTheAuditLogReachTheNode(t *testing.T) {
	t.Parallel()
	conf := kindConfig(handleFor(engine.Machine{}), Options{
		Mounts:      []Mount{{Host: "/h", Node: "/n", ReadOnly: true}},
		Ports:       []Port{{Node: 30000, Host: 8080}, {Node: 30001, Host: 8081, Address: "0.0.0.0"}},
		AuditPolicy: AuditMetadata,
	})
	node := conf.Nodes[0]
	want := []v1alpha4.Mount{
		{HostPath: "/h", ContainerPath: "/n", Readonly: true},
		{HostPath: "/state/ww-x/audit-policy.yaml", ContainerPath: auditNodePolicy, Readonly: true},
		{HostPath: "/state/ww-x/audit", ContainerPath: auditNodeDir},
	}
	if !slices.Equal(node.ExtraMounts, want) {
		t.Errorf("mounts %+v, want %+v", node.ExtraMounts, want)
	}
	if a, b := node.ExtraPortMappings[0].ListenAddress, node.ExtraPortMappings[1].ListenAddress; a != "127.0.0.1" || b != "0.0.0.0" {
		t.Errorf("listening at %q and %q", a, b)
	}
	var ops []struct{ Op, Path string }
	if err := json.Unmarshal([]byte(conf.KubeadmConfigPatchesJSON6902[0].Patch), &ops); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if op.Op != "add" || op.Path == "/apiServer/extraArgs" {
			t.Errorf("%s %s: kind's own arguments would be lost", op.Op, op.Path)
		}
	}
}

func TestACutDropsBothWaysWhereThePacketsPass(t *testing.T) {
	t.Parallel()
	a, b, host := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.1")
	local := map[netip.Addr]bool{host: true}
	for name, tc := range map[string]struct {
		from, to netip.Addr
		want     []string
	}{
		"between nodes":     {a, b, []string{"DOCKER-USER -s 10.0.0.2 -d 10.0.0.3", "DOCKER-USER -s 10.0.0.3 -d 10.0.0.2"}},
		"to this machine":   {a, host, []string{"INPUT -s 10.0.0.2 -d 10.0.0.1", "OUTPUT -s 10.0.0.1 -d 10.0.0.2"}},
		"from this machine": {host, a, []string{"OUTPUT -s 10.0.0.1 -d 10.0.0.2", "INPUT -s 10.0.0.2 -d 10.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, r := range cutRules(tc.from, tc.to, local) {
				line := strings.Join(r, " ")
				if !strings.Contains(line, cutMark) || !strings.HasSuffix(line, "-j DROP") {
					t.Errorf("rule %q: clean-up does not find it, or it drops nothing", line)
				}
				got = append(got, strings.Join(r[:5], " "))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("rules %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAHalfWrittenAuditLineIsLeftForTheNextReading(t *testing.T) {
	t.Parallel()
	whole := `{"verb":"patch","user":{"username":"u"},"objectRef":{"resource":"deployments","namespace":"n","name":"d","apiGroup":"apps"},"responseStatus":{"code":200},"stageTimestamp":"2026-01-02T03:04:05.000006Z"}` + "\n"
	events, n, err := parseAudit([]byte(whole + `{"verb":"del`))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || n != int64(len(whole)) {
		t.Fatalf("%d events, %d bytes; want 1 and %d", len(events), n, len(whole))
	}
	if e := events[0]; e.Verb != "patch" || e.User.Username != "u" || e.ObjectRef.Resource != "deployments" || e.ResponseStatus.Code != 200 || e.Finished.IsZero() {
		t.Errorf("read %+v", e)
	}
	if _, n, err := parseAudit([]byte(whole + "no json\n")); err == nil || n != int64(len(whole)) {
		t.Errorf("a broken line: error %v after %d bytes; want an error after %d", err, n, len(whole))
	}
}

func TestThisMachinesAddressIsReadWithAndWithoutAGateway(t *testing.T) {
	t.Parallel()
	for configs, want := range map[string]string{
		`[{"Subnet":"fc00::/64","Gateway":"fc00::1"},{"Subnet":"172.18.0.0/16","Gateway":"172.18.0.9"}]`: "172.18.0.9",
		`[{"Subnet":"fc00::/64"},{"Subnet":"172.28.0.0/20"}]`:                                            "172.28.0.1",
	} {
		if got, err := gateway([]byte(configs)); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", configs, got, err, want)
		}
	}
	for _, none := range []string{"", "null", "[]", `[{"Subnet":"fc00::/64"}]`} {
		if got, err := gateway([]byte(none)); err == nil {
			t.Errorf("%q: %s", none, got)
		}
	}
}

func TestSecretsAreNoArtifacts(t *testing.T) {
	t.Parallel()
	got := dumped([]string{"secrets", "pods", "events", "events.events.k8s.io", "flinkjobs.agent.waterwheel.dev", "componentstatuses"})
	if want := []string{"pods", "flinkjobs.agent.waterwheel.dev"}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestNamesAreDNSLabelsWithThePrefixOnce(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "A", "-a", "a-", "a_b", strings.Repeat("a", 33)} {
		if validName.MatchString(bad) {
			t.Errorf("%q passes", bad)
		}
	}
	if got := FullName(FullName("x")); got != "ww-x" {
		t.Errorf("full name %q, want ww-x", got)
	}
}

func TestTheNodesNetworkIsWhereNothingElseIs(t *testing.T) {
	at := func(cidrs ...string) (all []net.Addr) {
		for _, c := range cidrs {
			ip, of, err := net.ParseCIDR(c)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &net.IPNet{IP: ip, Mask: of.Mask})
		}
		return all
	}
	for want, here := range map[string][]net.Addr{
		"172.28.0.0/20":  at("127.0.0.1/8", "::1/128", "192.0.2.2/24", "172.18.0.1/16"),
		"172.28.32.0/20": at("172.28.0.1/20", "172.28.17.3/32"),
		"172.29.0.0/20":  at("172.28.9.1/16"),
		"invalid Prefix": at("172.16.0.1/12"),
	} {
		if got, _ := freeSubnet(here); got.String() != want {
			t.Errorf("%v: %s, want %s", here, got, want)
		}
	}
}
