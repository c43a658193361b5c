package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/cluster"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
)

// Prefix begins the name of every cluster that this package makes.
const Prefix = "ww-"

// Cluster is a running cluster of one node.
type Cluster struct {
	// Name is kind's name for it, with the prefix.
	Name string
	// Kubeconfig is a file that reaches the API server from this machine.
	Kubeconfig string
	// NodeName is the node's name in Kubernetes and its container's in Docker.
	NodeName string
	// NodeIP is the node's address for pods of other clusters and for this
	// machine.
	NodeIP netip.Addr

	engine   *engine.Engine
	provider *cluster.Provider
	dir      string
	progress func(string)
}

// Options say what cluster to make.
type Options struct {
	// Name without the prefix.
	Name string
	// Image of the node; empty: the best that can be had (see NodeImage).
	Image string
	// AuditPolicy turns the API server's audit log on; see AuditMetadata.
	AuditPolicy string
	// Mounts of directories of this machine into the node.
	Mounts []Mount
	// Ports of the node that this machine listens for.
	Ports []Port
	// Artifacts is where to put what tells why making it failed; empty: nowhere.
	Artifacts string
	// Timeout for the cluster to work, from kind's beginning; zero: 10 minutes,
	// where half a minute is usual.
	Timeout time.Duration
	// Progress is told what goes on, a line at a time; nil for silence.
	Progress func(line string)
}

// Mount is a directory of this machine that the node sees.
type Mount struct {
	Host, Node string
	ReadOnly   bool
}

// Port is a port of the node that this machine listens for.
type Port struct {
	Node, Host int32
	Address    string // empty: 127.0.0.1
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// ErrExists is returned by Create when a cluster of that name works or worked:
// Open it, or Delete it first.
var ErrExists = errors.New("cluster exists")

// Create makes a cluster and returns when it works. What it could not finish it
// removes, and what an earlier process that was killed left half made.
func Create(ctx context.Context, e *engine.Engine, o Options) (*Cluster, error) {
	if !validName.MatchString(o.Name) {
		return nil, fmt.Errorf("cluster name %q: letters, digits and dashes, at most 32", o.Name)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Image == "" {
		image, err := NodeImage(ctx, e, o.Progress)
		if err != nil {
			return nil, fmt.Errorf("node image: %w", err)
		}
		o.Image = image
	}
	c, err := handle(e, Prefix+o.Name, o.Progress)
	if err != nil {
		return nil, err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.vacant(); err != nil {
		return nil, err
	}
	if err := ensureNetwork(ctx, e); err != nil {
		return nil, err
	}
	if err := c.lay(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("cluster %s does not work after %s", c.Name, o.Timeout))
	defer cancel()
	began := time.Now()
	if err := c.create(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("create cluster %s: %w", c.Name, err), c.abandon(ctx, o))
	}
	if err := os.WriteFile(c.wholeFile(), nil, 0o644); err != nil {
		return nil, err
	}
	c.say("cluster %s works after %.0f s, node %s", c.Name, time.Since(began).Seconds(), c.NodeIP)
	return c, nil
}

// Open returns a cluster that an earlier call made, whole.
func Open(ctx context.Context, e *engine.Engine, name string) (*Cluster, error) {
	c, err := handle(e, FullName(name), nil)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.wholeFile()); err != nil {
		return nil, fmt.Errorf("no cluster %s that was made to its end: %w", c.Name, err)
	}
	if err := c.locate(ctx); err != nil {
		return nil, fmt.Errorf("no cluster %s: %w", c.Name, err)
	}
	return c, nil
}

// List names the clusters of this package in the engine.
func List(e *engine.Engine) ([]string, error) {
	if err := e.Bind(); err != nil {
		return nil, err
	}
	all, err := cluster.NewProvider(cluster.ProviderWithDocker()).List()
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var ours []string
	for _, name := range all {
		if strings.HasPrefix(name, Prefix) {
			ours = append(ours, name)
		}
	}
	return ours, nil
}

// Delete removes the cluster and what is kept of it on this machine. One that is
// gone already is no error. Docker on a busy machine gives up a removal that goes
// on: it is asked again.
func (c *Cluster) Delete() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 2*time.Minute, errors.New("not within two minutes"))
	defer cancel()
	if err := until(ctx, 5*time.Second, func() error { return c.provider.Delete(c.Name, c.Kubeconfig) }); err != nil {
		return fmt.Errorf("delete cluster %s: %w", c.Name, err)
	}
	return os.RemoveAll(c.dir)
}

// FullName is the name with the prefix.
func FullName(name string) string { return Prefix + strings.TrimPrefix(name, Prefix) }

// Handle returns what can delete a cluster that may be half there.
func Handle(e *engine.Engine, name string) (*Cluster, error) { return handle(e, name, nil) }

// Root is where this machine keeps what belongs to clusters.
func Root() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return filepath.Join(cache, "waterwheel", "e2e"), nil
}

func handle(e *engine.Engine, full string, progress func(string)) (*Cluster, error) {
	if err := e.Bind(); err != nil {
		return nil, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "clusters", full)
	c := &Cluster{
		Name:       full,
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
		NodeName:   full + "-control-plane",
		engine:     e,
		dir:        dir,
		progress:   progress,
	}
	c.provider = cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(kindLog{c.say}))
	return c, nil
}

// wholeFile is there when the cluster was made to its end.
func (c *Cluster) wholeFile() string { return filepath.Join(c.dir, "whole") }

// lock keeps two from making one cluster.
func (c *Cluster) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil {
		return nil, err
	}
	return cache.Lock(ctx, c.dir+".lock")
}

// vacant sees to it that there is no node of the name. The lock is held: a node
// of a cluster that is not whole belongs to nobody.
func (c *Cluster) vacant() error {
	nodes, err := c.provider.ListNodes(c.Name)
	if err != nil || len(nodes) == 0 {
		return err
	}
	if _, err := os.Stat(c.wholeFile()); err == nil {
		return fmt.Errorf("%s: %w", c.Name, ErrExists)
	}
	c.say("cluster %s was left half made: removed", c.Name)
	return c.Delete()
}

// lay puts on this machine what the node mounts.
func (c *Cluster) lay(o Options) error {
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.auditDir(), 0o755); err != nil {
		return err
	}
	if o.AuditPolicy == "" {
		return nil
	}
	return os.WriteFile(c.policyFile(), []byte(o.AuditPolicy), 0o644)
}

func (c *Cluster) create(ctx context.Context, o Options) error {
	err := c.provide(o)
	if err != nil && ctx.Err() == nil {
		c.say("cluster %s: its node did not come up, made once more: %v", c.Name, err)
		if gone := c.provider.Delete(c.Name, c.Kubeconfig); gone != nil {
			return errors.Join(err, gone)
		}
		err = c.provide(o)
	}
	if err != nil {
		return err
	}
	if err := c.locate(ctx); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// provide lets kind make the node. Kind gives systemd 30 seconds and publishes a
// port that was free a moment ago: on a busy machine either may fail.
func (c *Cluster) provide(o Options) error {
	return c.provider.Create(c.Name,
		cluster.CreateWithV1Alpha4Config(kindConfig(c, o)),
		cluster.CreateWithNodeImage(o.Image),
		cluster.CreateWithKubeconfigPath(c.Kubeconfig),
		cluster.CreateWithRetain(true), // for what tells why
	)
}

// abandon keeps the reasons and removes the rest.
func (c *Cluster) abandon(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if o.Artifacts != "" {
		dir := filepath.Join(o.Artifacts, c.Name)
		c.say("cluster %s: what tells why it failed is below %s", c.Name, dir)
		if missing := c.DumpArtifacts(ctx, dir); missing != nil {
			// of a cluster that never came up most is missing; the reason to
			// report is another
			if err := os.WriteFile(filepath.Join(dir, "missing.txt"), []byte(missing.Error()+"\n"), 0o644); err != nil {
				return errors.Join(err, c.Delete())
			}
		}
	}
	return c.Delete()
}

// locate finds out where the node is.
func (c *Cluster) locate(ctx context.Context) error {
	out, err := c.engine.Docker(ctx, "inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, c.NodeName)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(out)
	if err != nil {
		return fmt.Errorf("address of node %s (is it running?): %w", c.NodeName, err)
	}
	c.NodeIP = ip
	return nil
}

// Config returns how to reach the API server from this machine.
func (c *Cluster) Config() (*rest.Config, error) {
	conf, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	return conf, nil
}

func (c *Cluster) say(format string, args ...any) {
	if c.progress != nil {
		c.progress(fmt.Sprintf(format, args...))
	}
}
