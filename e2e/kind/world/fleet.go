package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/image"
)

// Where things are.
const (
	HubNamespace   = "waterwheel"
	AgentNamespace = "waterwheel-agent"
	Tenant         = "default"
	JobNamespace   = "waterwheel-default" // of the tenant

	hubUser     = 65532
	agentsPort  = 30443
	adminPort   = 30444
	credentials = "state-storage"
)

// Fleet is a hub in a vendor's cluster and an agent in each customer's, installed as people would: by Helm, and by the
// command that an invitation prints.
type Fleet struct {
	*Base
	Vendor    *cluster.Cluster
	Customers []*cluster.Cluster // c1, c2, …

	home string // of the one who types: configuration, binaries
}

// FleetOptions say what fleet to make.
type FleetOptions struct {
	Customers       int
	CertificateLife string            // of agents; empty: the hub's default
	AuditPolicy     string            // of customers' clusters
	Quota           map[string]string // of the tenant's namespace
}

// Fleet makes the clusters side by side, and installs hub and agents.
func (b *Base) Fleet(ctx context.Context, o FleetOptions) (*Fleet, error) {
	f := &Fleet{Base: b, Customers: make([]*cluster.Cluster, o.Customers)}
	if err := f.prepare(ctx); err != nil {
		return f, err
	}
	f.Say(fmt.Sprintf("next: %d clusters side by side, which takes a minute or two", 1+o.Customers))
	group, each := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		f.Vendor, err = b.Cluster(each, cluster.Options{Name: b.o.Name + "-vendor"}, b.Hub)
		return err
	})
	images := []image.Archive{b.Agent}
	for _, a := range b.Flink {
		images = append(images, a)
	}
	for i := range f.Customers {
		group.Go(func() (err error) {
			f.Customers[i], err = b.Cluster(each, cluster.Options{Name: fmt.Sprintf("%s-%s", b.o.Name, f.Name(i)), AuditPolicy: o.AuditPolicy}, images...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return f, err
	}
	if err := f.linkKubectl(ctx); err != nil {
		return f, err
	}
	f.Say("next: the hub and its customers' agents, by helm")
	if err := f.InstallHub(ctx, o.CertificateLife); err != nil {
		return f, fmt.Errorf("install the hub: %w", err)
	}
	for i := range f.Customers {
		if err := f.Join(ctx, i, o.Quota); err != nil {
			return f, fmt.Errorf("install the agent of %s: %w", f.Name(i), err)
		}
	}
	return f, nil
}

// Name is what a customer's cluster is called at the hub.
func (f *Fleet) Name(i int) string { return fmt.Sprintf("c%d", i+1) }

// prepare finds the repository and makes the commands that people type.
func (f *Fleet) prepare(ctx context.Context) error {
	base, err := cluster.Root()
	if err != nil {
		return err
	}
	f.home = filepath.Join(base, "home-"+f.o.Name)
	if err := os.MkdirAll(filepath.Join(f.home, "bin"), 0o700); err != nil {
		return fmt.Errorf("make a home: %w", err)
	}
	cli := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(f.home, "bin", "waterwheel"), "./cmd/waterwheel")
	cli.Dir, cli.Env = f.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cli.CombinedOutput(); err != nil {
		return fmt.Errorf("build waterwheel: %w: %s", err, out)
	}
	return f.link("helm", f.Base.helm)
}

// linkKubectl gives people the kubectl of the clusters' version.
func (f *Fleet) linkKubectl(ctx context.Context) error {
	path, err := f.Vendor.KubectlBinary(ctx)
	if err != nil {
		return err
	}
	return f.link("kubectl", path)
}

// link makes a command of a name be the binary at a path.
func (f *Fleet) link(name, path string) error {
	link := filepath.Join(f.home, "bin", name)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return os.Symlink(path, link)
}

// InstallHub installs or upgrades the hub and becomes its first admin.
func (f *Fleet) InstallHub(ctx context.Context, certificateLife string) error {
	node := f.Vendor.NodeIP.String()
	if _, err := f.Vendor.Exec(ctx, "sh", "-c", fmt.Sprintf("mkdir -p /var/waterwheel-hub && chown %d:%d /var/waterwheel-hub", hubUser, hubUser)); err != nil {
		return err
	}
	if _, err := f.Vendor.KubectlWith(ctx, strings.NewReader(volume), "apply", "-f", "-"); err != nil {
		return err
	}
	repository, tag, _ := strings.Cut(f.Hub.Ref, ":")
	values := map[string]any{
		"image":         map[string]any{"repository": repository, "tag": tag},
		"agentsAddress": fmt.Sprintf("%s:%d", node, agentsPort), "adminAddress": fmt.Sprintf("%s:%d", node, adminPort),
		"service": map[string]any{
			"agents": map[string]any{"type": "NodePort", "nodePort": agentsPort},
			"admin":  map[string]any{"type": "NodePort", "nodePort": adminPort},
		},
		"persistence": map[string]any{"storageClass": "standard"},
		"metrics":     map[string]any{"enabled": true},
	}
	if certificateLife != "" {
		values["certificateLife"] = certificateLife
	}
	began := time.Now()
	if err := f.helm(ctx, f.Vendor, "hub", values, "helm upgrade --install waterwheel-hub charts/waterwheel-hub --namespace "+HubNamespace+" --create-namespace"); err != nil {
		return err
	}
	text, err := f.Vendor.Kubectl(ctx, "-n", HubNamespace, "exec", "waterwheel-hub-0", "-c", "hub", "--",
		"waterwheel-hub", "context", "--config", "/etc/waterwheel/hub.yaml", "--admin", "admin")
	if err != nil {
		return err
	}
	if _, err := f.CLI(ctx, text, "config", "import", "--replace", "--use", "-"); err != nil {
		return err
	}
	if err := f.answers(ctx); err != nil {
		return err
	}
	f.Say(fmt.Sprintf("the hub answers after %.1f s", time.Since(began).Seconds()))
	return nil
}

// answers waits until the hub can be called from here: the node's ports lead to a new Service only after a while.
func (f *Fleet) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("not within three minutes"))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := f.CLI(ctx, "", "get", "clusters")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the hub does not answer: %w: %w", context.Cause(ctx), err)
		}
	}
}

// Join invites a customer's cluster and types the command that the invitation prints. For a cluster that has joined before
// it is the same command without the token: the agent finds its identity where the last one left it.
func (f *Fleet) Join(ctx context.Context, i int, quota map[string]string) error {
	began := time.Now()
	c := f.Customers[i]
	command, err := f.invitation(ctx, f.Name(i))
	if err != nil {
		return err
	}
	if err := f.helm(ctx, c, f.Name(i), f.AgentValues(quota), command); err != nil {
		return err
	}
	if err := f.GiveCredentials(ctx, c); err != nil {
		return err
	}
	f.Say(fmt.Sprintf("the agent of %s is there after %.1f s", f.Name(i), time.Since(began).Seconds()))
	return nil
}

// invitation is the helm command for a cluster.
func (f *Fleet) invitation(ctx context.Context, name string) (string, error) {
	kept := filepath.Join(f.home, "invitation-"+name)
	if text, err := os.ReadFile(kept); err == nil {
		return string(text) + " --set-string join.token=", nil
	}
	said, err := f.CLI(ctx, "", "cluster", "invite", name)
	if err != nil {
		return "", err
	}
	command, err := helmCommand(said)
	if err != nil {
		return "", err
	}
	return command, os.WriteFile(kept, []byte(command), 0o600)
}

// GiveCredentials makes the Secret of the storage's credentials in the jobs' namespace.
func (f *Fleet) GiveCredentials(ctx context.Context, c *cluster.Cluster) error {
	keys := f.Storage.Credentials()
	secret := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {AWS_ACCESS_KEY_ID: %q, AWS_SECRET_ACCESS_KEY: %q}\n",
		credentials, JobNamespace, keys.AccessKey, keys.SecretKey)
	_, err := c.KubectlWith(ctx, strings.NewReader(secret), "apply", "-f", "-")
	return err
}

// HubCounter reads a counter of the hub's, summed over its labels, through a way that kubectl opens to its loopback.
func (f *Fleet) HubCounter(ctx context.Context, name string) (int, error) {
	text, err := f.Vendor.Kubectl(ctx, "get", "--raw", "/api/v1/namespaces/"+HubNamespace+"/pods/waterwheel-hub-0:7445/proxy/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
			sum, found = sum+v, true
		}
	}
	if !found {
		return 0, fmt.Errorf("the hub has no metric %s", name)
	}
	return int(sum), nil
}

// AgentValues is what a customer says of its cluster.
func (f *Fleet) AgentValues(quota map[string]string) map[string]any {
	repository, tag, _ := strings.Cut(f.Agent.Ref, ":")
	images := map[string]string{}
	for v, a := range f.Flink {
		images[v] = a.Ref
	}
	tenant := map[string]any{"name": Tenant, "namespace": JobNamespace}
	if len(quota) > 0 {
		tenant["quota"] = quota
	}
	return map[string]any{
		"image":        map[string]any{"repository": repository, "tag": tag},
		"flink":        map[string]any{"images": images, "cpuLimitFactor": 15, "settings": f.Storage.Settings()},
		"stateStorage": map[string]any{"root": f.Root() + "/state", "credentialsSecret": credentials},
		"tenants":      []any{tenant},
	}
}

// Helm types a helm command with values for a cluster, from the root of the repository, and waits for what it installs.
func (f *Fleet) Helm(ctx context.Context, c *cluster.Cluster, values map[string]any, command string) error {
	return f.helm(ctx, c, "typed", values, command)
}

func (f *Fleet) helm(ctx context.Context, c *cluster.Cluster, name string, values map[string]any, command string) error {
	if values != nil {
		text, err := yaml.Marshal(values)
		if err != nil {
			return fmt.Errorf("write values: %w", err)
		}
		file := filepath.Join(f.home, "values-"+name+".yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return fmt.Errorf("write values: %w", err)
		}
		command += " --values " + file + " --wait --timeout 5m"
	}
	sh := exec.CommandContext(ctx, "bash", "-c", command)
	sh.Dir = f.root
	sh.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "PATH="+filepath.Join(f.home, "bin")+":"+os.Getenv("PATH"))
	out, err := sh.CombinedOutput()
	f.keep("helm-"+name+".log", fmt.Appendf(nil, "$ %s\n%s\n", command, out))
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, bytes.TrimSpace(out))
	}
	return nil
}

// CLI types a waterwheel command and returns what it printed. The error carries what it said besides.
func (f *Fleet) CLI(ctx context.Context, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, filepath.Join(f.home, "bin", "waterwheel"), args...)
	c.Env = append(os.Environ(), "WATERWHEEL_CONFIG="+filepath.Join(f.home, "config.yaml"))
	c.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("waterwheel %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}

// Config is the file of the one who types, for WATERWHEEL_CONFIG.
func (f *Fleet) Config() string { return filepath.Join(f.home, "config.yaml") }

// Bin is the directory of waterwheel and helm.
func (f *Fleet) Bin() string { return filepath.Join(f.home, "bin") }

// Close removes everything.
func (f *Fleet) Close(ctx context.Context) error {
	all := append([]*cluster.Cluster{f.Vendor}, f.Customers...)
	return errors.Join(f.Base.Close(ctx, all...), os.RemoveAll(f.home))
}

// keep adds to a file among the artifacts.
func (f *Fleet) keep(name string, text []byte) {
	file, err := os.OpenFile(filepath.Join(f.o.Artifacts, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.Write(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		f.Say("not kept: " + err.Error())
	}
}

// helmCommand finds the command in what an invitation says: it begins with helm, and goes on while lines end in a backslash.
func helmCommand(said string) (string, error) {
	_, rest, found := strings.Cut(said, "helm upgrade --install ")
	if !found {
		return "", fmt.Errorf("the invitation names no helm command: %s", said)
	}
	var command strings.Builder
	command.WriteString("helm upgrade --install ")
	for line := range strings.Lines(rest) {
		text, more := strings.CutSuffix(strings.TrimSpace(line), "\\")
		command.WriteString(text)
		if !more {
			break
		}
		command.WriteString(" ")
	}
	return command.String(), nil
}

// volume is where the hub keeps its things: this kind of cluster makes none by itself.
const volume = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: waterwheel-hub}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: standard
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: /var/waterwheel-hub}
`
