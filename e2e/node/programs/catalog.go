package programs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What the node image is made of. The images' tags are those kubeadm asks for.
const (
	Kubernetes = "v1.36.3"
	Etcd       = "3.6.8-0"
	CoreDNS    = "v1.14.2"
	Crictl     = "v1.36.0"
	Containerd = "v2.3.0"
	Kind       = "v0.33.0"
)

// origin is where a program comes from.
type origin struct {
	pkg      string // main package
	built    string // name that go build gives it; empty: the program's own
	separate bool   // not of the graph: installed at a version of its own
}

func catalog() map[string]origin {
	all := map[string]origin{
		"etcd":    {pkg: "go.etcd.io/etcd/server/v3", built: "server"},
		"crictl":  {pkg: "sigs.k8s.io/cri-tools/cmd/crictl"},
		"coredns": {pkg: "./coredns"},
		"pause":   {pkg: "./pause"},
	}
	for _, name := range []string{
		"kubeadm", "kubelet", "kubectl",
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
	} {
		all[name] = origin{pkg: "k8s.io/kubernetes/cmd/" + name}
	}
	for _, name := range []string{"containerd", "ctr", "containerd-shim-runc-v2"} {
		all[name] = origin{pkg: "github.com/containerd/containerd/v2/cmd/" + name, separate: true}
	}
	return all
}

// Names lists every program there is, sorted.
func Names() []string { return slices.Sorted(maps.Keys(catalog())) }

// linkFlags makes the programs say the version they are: kubeadm and the
// clients compare theirs with each other's.
func linkFlags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(Kubernetes, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	const version = "k8s.io/component-base/version"
	flags := []string{"-s", "-w"}
	for _, set := range [][2]string{
		{version + ".gitVersion", Kubernetes},
		{version + ".gitMajor", major},
		{version + ".gitMinor", minor},
		{version + ".gitTreeState", "clean"},
		{version + ".buildDate", "2026-01-01T00:00:00Z"},
		{"k8s.io/client-go/pkg/version.gitVersion", Kubernetes},
		{"sigs.k8s.io/cri-tools/pkg/version.Version", Crictl},
	} {
		flags = append(flags, "-X", fmt.Sprintf("%s=%s", set[0], set[1]))
	}
	return strings.Join(flags, " ")
}

// containerdTags leaves out what a node never uses.
const containerdTags = "no_btrfs,no_zfs,no_devmapper,no_aufs"
