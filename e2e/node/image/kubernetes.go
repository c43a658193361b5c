package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/waterwheel-io/waterwheel/e2e/node/programs"
)

const registry = "registry.k8s.io/"

// makeImages writes an archive for each image that kubeadm starts a cluster from.
func (w *work) makeImages(context.Context) error {
	if err := os.Mkdir(w.images(), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		err := w.writeImage(name, container{
			Refs:  []string{registry + name + ":" + programs.Kubernetes},
			Files: []file{w.program(name, "usr/local/bin/"+name)},
		})
		if err != nil {
			return err
		}
	}
	proxy, err := w.proxyFiles()
	if err != nil {
		return err
	}
	for name, c := range map[string]container{
		"kube-proxy": {
			Refs:  []string{registry + "kube-proxy:" + programs.Kubernetes},
			Files: proxy,
		},
		"etcd": {
			Refs:  []string{registry + "etcd:" + programs.Etcd},
			Files: []file{w.program("etcd", "usr/local/bin/etcd")},
		},
		"coredns": {
			Refs:       []string{registry + "coredns/coredns:" + programs.CoreDNS},
			Entrypoint: []string{"/coredns"},
			Files:      []file{w.program("coredns", "coredns")},
		},
		"pause": { // kubeadm's and kind's configuration of containerd name two
			Refs:       []string{registry + "pause:3.10", registry + "pause:3.10.2"},
			Entrypoint: []string{"/pause"},
			Files:      []file{w.program("pause", "pause")},
		},
	} {
		if err := w.writeImage(name, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) writeImage(name string, c container) error {
	return c.write(filepath.Join(w.images(), name+".tar"))
}

func (w *work) program(name, to string) file {
	return file{From: filepath.Join(w.bin, name), To: to, Mode: 0o755}
}

// proxyFiles is kube-proxy with the packet filter's tools, and every library
// that these tools and their plugins load.
func (w *work) proxyFiles() ([]file, error) {
	libDir, loader, err := debianLibraries()
	if err != nil {
		return nil, err
	}
	plugins := libDir + "/xtables"
	tools := []string{"usr/sbin/xtables-nft-multi", "usr/sbin/nft", "usr/sbin/conntrack"}
	files := []file{w.program("kube-proxy", "usr/local/bin/kube-proxy")}
	loads := tools
	entries, err := os.ReadDir(filepath.Join(w.rootfs(), plugins))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".so") {
			loads = append(loads, plugins+"/"+e.Name())
		}
	}
	libs, err := closure(w.rootfs(), libDir, loads)
	if err != nil {
		return nil, err
	}
	for _, path := range append(loads, libs...) {
		files = append(files, file{From: filepath.Join(w.rootfs(), path), To: path, Mode: 0o755})
	}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, verb := range []string{"", "-save", "-restore"} {
			files = append(files, file{To: "usr/sbin/" + family + verb, Link: "xtables-nft-multi"})
		}
	}
	return append(files, file{From: filepath.Join(w.rootfs(), loader), To: loader, Mode: 0o755}), nil
}

// debianLibraries says where Debian has the libraries of this architecture, and
// what loads them.
func debianLibraries() (dir, loader string, err error) {
	switch runtime.GOARCH {
	case "amd64":
		return "usr/lib/x86_64-linux-gnu", "lib64/ld-linux-x86-64.so.2", nil
	case "arm64":
		return "usr/lib/aarch64-linux-gnu", "lib/ld-linux-aarch64.so.1", nil
	}
	return "", "", fmt.Errorf("no node image for %s: make a kindest/node image available to Docker", runtime.GOARCH)
}
