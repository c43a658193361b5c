package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

// furnish makes a kind node of a Debian base.
func (w *work) furnish(ctx context.Context) error {
	root, err := os.OpenRoot(w.rootfs())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, part := range []func(context.Context, *os.Root) error{
		w.placeKindFiles, w.placePrograms, placeNetwork, placeManifests, quietSystemd, w.enableUnits, w.placeSpec,
	} {
		if err := part(ctx, root); err != nil {
			return err
		}
	}
	return nil
}

// placeKindFiles copies kind's node files and fits containerd's configuration to
// a node that may lack CAP_SYS_RESOURCE and erofs.
func (w *work) placeKindFiles(_ context.Context, root *os.Root) error {
	for dir, mode := range map[string]fs.FileMode{"usr/local/bin": 0o755, "kind": 0o644, "kind/bin": 0o755, "etc": 0o644} {
		if err := copyTree(root, filepath.Join(w.files, dir), dir, mode, dir != "kind"); err != nil {
			return fmt.Errorf("kind's files: %w", err)
		}
	}
	const path = "etc/containerd/config.toml"
	b, err := root.ReadFile(path)
	if err != nil {
		return err
	}
	fitted, err := fitContainerd(string(b))
	if err != nil {
		return err
	}
	return root.WriteFile(path, []byte(fitted), 0o644)
}

// fitContainerd edits kind's configuration of containerd. An edit that finds
// nothing to change is an error: the file is not the one that was known.
func fitContainerd(config string) (string, error) {
	for _, edit := range [][2]string{
		{"restrict_oom_score_adj = false", "restrict_oom_score_adj = true"},
		{"\nversion = 2\n", "\nversion = 2\ndisabled_plugins = [" + quoted(noErofs()) + "]\n"},
	} {
		if strings.Count(config, edit[0]) != 1 {
			return "", fmt.Errorf("kind's containerd configuration does not hold %q once", strings.TrimSpace(edit[0]))
		}
		config = strings.Replace(config, edit[0], edit[1], 1)
	}
	return config, nil
}

func noErofs() []string {
	return []string{"io.containerd.differ.v1.erofs", "io.containerd.snapshotter.v1.erofs"}
}

func quoted(words []string) string {
	return `"` + strings.Join(words, `","`) + `"`
}

func (w *work) placePrograms(_ context.Context, root *os.Root) error {
	for dir, names := range map[string][]string{
		"usr/local/bin": {"containerd", "containerd-shim-runc-v2", "ctr", "crictl"},
		"usr/bin":       {"kubeadm", "kubelet", "kubectl"},
	} {
		if err := programs.Export(w.bin, filepath.Join(w.rootfs(), dir), names); err != nil {
			return err
		}
	}
	return root.WriteFile("kind/version", []byte(programs.Kubernetes), 0o644)
}

// placeNetwork gives the node the plugins and one network of its own: kind's
// network daemon comes as an image that nobody can pull here.
func placeNetwork(_ context.Context, root *os.Root) error {
	for _, dir := range []string{"opt/cni/bin", "etc/cni/net.d"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, plugin := range []string{"host-local", "loopback", "ptp", "portmap"} {
		b, err := root.ReadFile("usr/lib/cni/" + plugin)
		if err != nil {
			return fmt.Errorf("network plugin: %w", err)
		}
		if err := root.WriteFile("opt/cni/bin/"+plugin, b, 0o755); err != nil {
			return err
		}
	}
	conf, err := conflist()
	if err != nil {
		return err
	}
	return root.WriteFile("etc/cni/net.d/10-node.conflist", conf, 0o644)
}

// PodSubnet is where the pods of a node get their addresses: kind's default
// subnet for a cluster's first node.
const PodSubnet = "10.244.0.0/24"

func conflist() ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "node",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": true, "mtu": 1400,
				"ipam": object{
					"type":    "host-local",
					"dataDir": "/run/cni-ipam-state", // gone with a restart, as the pods are
					"ranges":  [][]object{{{"subnet": PodSubnet}}},
					"routes":  []object{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

// placeManifests puts what kind applies to a new cluster. There is no dynamic
// storage here; the class is there so that kind finds one.
func placeManifests(_ context.Context, root *os.Root) error {
	for _, dir := range []string{"kind/manifests", "etc/kubernetes/manifests"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	const class = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
provisioner: kubernetes.io/no-provisioner
`
	return errors.Join(
		root.WriteFile("kind/manifests/default-storage.yaml", []byte(class), 0o644),
		root.WriteFile("kind/manifests/default-cni.yaml", nil, 0o644),
	)
}

// quietSystemd leaves of Debian's units what a container needs.
func quietSystemd(_ context.Context, root *os.Root) error {
	const units = "usr/lib/systemd/system/"
	patterns := []string{
		units + "sysinit.target.wants/systemd-tmpfiles-setup.service",
		units + "multi-user.target.wants/*",
		"etc/systemd/system/*.wants/*",
		units + "local-fs.target.wants/*",
		units + "sockets.target.wants/*udev*",
		units + "sockets.target.wants/*initctl*",
		units + "basic.target.wants/*",
	}
	for _, pattern := range patterns {
		paths, err := fs.Glob(root.FS(), pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := root.Remove(path); err != nil {
				return err
			}
		}
	}
	conf, err := root.ReadFile("etc/systemd/journald.conf")
	if err != nil {
		return err
	}
	if err := root.RemoveAll("etc/machine-id"); err != nil {
		return err
	}
	if err := root.RemoveAll("usr/sbin/init"); err != nil {
		return err
	}
	return errors.Join(
		root.WriteFile("etc/systemd/journald.conf", append(conf, "ReadKMsg=no\n"...), 0o644),
		root.WriteFile("etc/machine-id", nil, 0o444), // each node gets its own
		root.Symlink("/usr/lib/systemd/systemd", "usr/sbin/init"),
	)
}

func (w *work) enableUnits(ctx context.Context, _ *os.Root) error {
	if err := run(ctx, nil, "chroot", w.rootfs(), "/usr/bin/systemctl", "-q", "enable", "kubelet", "containerd", "undo-mount-hacks"); err != nil {
		return err
	}
	return run(ctx, nil, "chroot", w.rootfs(), "/usr/bin/systemctl", "-q", "mask", "systemd-binfmt.service")
}

// placeSpec writes the runtime spec that containers in the node start from.
func (w *work) placeSpec(ctx context.Context, root *os.Root) error {
	out, err := exec.CommandContext(ctx, filepath.Join(w.bin, "ctr"), "oci", "spec").Output()
	if err != nil {
		return fmt.Errorf("ctr oci spec: %w", err)
	}
	spec, err := hookSpec(out)
	if err != nil {
		return err
	}
	return root.WriteFile("etc/containerd/cri-base.json", spec, 0o644)
}

// hookSpec adds kind's hook to a runtime spec and takes the limits away, which a
// node without CAP_SYS_RESOURCE could not raise.
func hookSpec(spec []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(spec, &doc); err != nil {
		return nil, fmt.Errorf("runtime spec: %w", err)
	}
	process, ok := doc["process"].(map[string]any)
	if !ok {
		return nil, errors.New("runtime spec: no process")
	}
	delete(process, "rlimits")
	hooks, ok := doc["hooks"].(map[string]any)
	if !ok {
		hooks = map[string]any{}
	}
	list, _ := hooks["createContainer"].([]any)
	hooks["createContainer"] = append(list, map[string]any{"path": "/kind/bin/mount-product-files.sh"})
	doc["hooks"] = hooks
	return json.MarshalIndent(doc, "", "  ")
}

// copyTree copies files of a directory outside into the root, all with one mode:
// those of the module cache are read-only.
func copyTree(root *os.Root, from, to string, mode fs.FileMode, deep bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && !deep {
				return fs.SkipDir
			}
			return root.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return root.WriteFile(filepath.Join(to, rel), b, mode)
	})
}
