package cluster

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// where the audit log and its policy are, in the node
const (
	auditNodeDir    = "/var/log/kubernetes/audit"
	auditNodePolicy = "/etc/kubernetes/audit-policy.yaml"
)

func (c *Cluster) auditDir() string   { return filepath.Join(c.dir, "audit") }
func (c *Cluster) policyFile() string { return filepath.Join(c.dir, "audit-policy.yaml") }

// kindConfig is the cluster in kind's words.
func kindConfig(c *Cluster, o Options) *v1alpha4.Cluster {
	node := v1alpha4.Node{Role: v1alpha4.ControlPlaneRole}
	for _, m := range o.Mounts {
		node.ExtraMounts = append(node.ExtraMounts, v1alpha4.Mount{HostPath: m.Host, ContainerPath: m.Node, Readonly: m.ReadOnly})
	}
	for _, p := range o.Ports {
		address := p.Address
		if address == "" {
			address = "127.0.0.1"
		}
		node.ExtraPortMappings = append(node.ExtraPortMappings, v1alpha4.PortMapping{
			ContainerPort: p.Node, HostPort: p.Host, ListenAddress: address, Protocol: v1alpha4.PortMappingProtocolTCP,
		})
	}
	conf := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:     c.Name,
		// the node built here has a network of its own; kind's comes as an image
		Networking: v1alpha4.Networking{DisableDefaultCNI: builtHere(o.Image)},
	}
	if c.engine.Machine.CgroupV1 {
		conf.KubeadmConfigPatches = []string{"kind: KubeletConfiguration\nfailCgroupV1: false\n"}
	}
	if o.AuditPolicy != "" {
		node.ExtraMounts = append(node.ExtraMounts,
			v1alpha4.Mount{HostPath: c.policyFile(), ContainerPath: auditNodePolicy, Readonly: true},
			v1alpha4.Mount{HostPath: c.auditDir(), ContainerPath: auditNodeDir})
		conf.KubeadmConfigPatchesJSON6902 = []v1alpha4.PatchJSON6902{auditPatch()}
	}
	conf.Nodes = []v1alpha4.Node{node}
	return conf
}

// builtHere says whether an image is of the module e2e/node.
func builtHere(image string) bool { return strings.HasPrefix(image, builtName+":") }

// auditPatch makes the API server write an audit log. It adds to the lists of
// kind's configuration; a merge would replace them.
func auditPatch() v1alpha4.PatchJSON6902 {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	type object = map[string]any
	var ops []operation
	for _, arg := range [][2]string{
		{"audit-policy-file", auditNodePolicy},
		{"audit-log-path", auditNodeDir + "/audit.log"},
		{"audit-log-maxsize", "1024"}, // one file for one test
	} {
		ops = append(ops, operation{"add", "/apiServer/extraArgs/-", object{"name": arg[0], "value": arg[1]}})
	}
	ops = append(ops, operation{"add", "/apiServer/extraVolumes", []object{
		{"name": "audit-policy", "hostPath": auditNodePolicy, "mountPath": auditNodePolicy, "readOnly": true, "pathType": "File"},
		{"name": "audit-log", "hostPath": auditNodeDir, "mountPath": auditNodeDir, "pathType": "DirectoryOrCreate"},
	}})
	patch, err := json.Marshal(ops)
	if err != nil {
		panic(err) // of strings alone
	}
	return v1alpha4.PatchJSON6902{Group: "kubeadm.k8s.io", Version: "v1beta4", Kind: "ClusterConfiguration", Patch: string(patch)}
}
