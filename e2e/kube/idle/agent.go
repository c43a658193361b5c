package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/lease"
	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// What the agent's process says of itself, a number of jobs after it.
const sayInSync = "in-sync"

// agentMain is the process of the agent: `idle agent`.
func agentMain(args []string) error {
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	api := flags.String("kubeconfig", "", "of the agent")
	others := flags.String("others", "", "kubeconfig of the stand-ins")
	jobs := flags.Int("jobs", 0, "how many orders")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return serve(ctx, *api, *others, *jobs)
}

// serve acts while it holds the Lease, as the agent does.
func serve(ctx context.Context, kubeconfig, others string, n int) error {
	api, err := kube.Connect(kubeconfig)
	if err != nil {
		return err
	}
	admin, err := kube.Connect(others)
	if err != nil {
		return err
	}
	admin.QPS, admin.UserAgent = -1, "flink"
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	orders := scene.Orders(n, flink.UpgradeSavepoint)
	seen := newCensus(n, os.Stdout)
	turn := lease.Config{API: api, Namespace: scene.Own, Identity: "idle", Logger: log} // renewed as often as the chart has it
	return lease.Run(ctx, turn, func(ctx context.Context) (err error) {
		a, err := scene.NewAgent(ctx, scene.Config{
			API: api, Place: scene.Place(root), Seen: seen.see, Logger: log,
			Flink: scene.NewFlink(orders, root, func(ctx context.Context, run flink.Run, at time.Time) error { return handIn(ctx, client, run, at) }),
		})
		if err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- a.Run(running) }()
		defer func() { stop(); err = errors.Join(err, <-ended, a.Close()) }()
		if err := a.Ready(ctx); err != nil {
			return err
		}
		if err := a.Record(ctx, orders); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}

// census counts the jobs in sync and says each new number.
type census struct {
	mu  sync.Mutex
	out io.Writer
	n   int
	in  map[string]bool
}

func newCensus(n int, out io.Writer) *census {
	return &census{out: out, n: n, in: make(map[string]bool, n)}
}

func (c *census) see(o flink.Order, st flink.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := st.Situation == string(plan.InSync)
	if c.in[o.UID] == in {
		return
	}
	c.in[o.UID] = in
	n := 0
	for _, in := range c.in {
		if in {
			n++
		}
	}
	_, _ = fmt.Fprintf(c.out, "%s %d\n", sayInSync, n) // nobody reads any more: the parent is gone, and this process with it
}

// agent is the agent's process as its parent sees it.
type agent struct {
	want  int
	cmd   *exec.Cmd
	dir   string
	all   chan struct{} // closed when all jobs are in sync
	ended chan struct{} // closed at its end; err is valid then
	err   error
	now   atomic.Int64 // jobs in sync
}

func startAgent(ctx context.Context, c *scene.Cluster, jobs int) (*agent, error) {
	api, err := c.Agent(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "waterwheel-idle-")
	if err != nil {
		return nil, err
	}
	a := &agent{want: jobs, dir: dir, all: make(chan struct{}), ended: make(chan struct{})}
	file := filepath.Join(dir, "kubeconfig")
	own := clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: api.Host, CertificateAuthority: api.CAFile, CertificateAuthorityData: api.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"a": {Token: api.BearerToken}},
		Contexts:  map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "a"}}, CurrentContext: "x",
	}
	if err := clientcmd.WriteToFile(own, file); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// Its end is stop's to say, which lets it give up its Lease.
	a.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, "agent", "-kubeconfig", file, "-others", c.Kubeconfig, "-jobs", strconv.Itoa(jobs))
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := a.cmd.StdoutPipe()
	if err == nil {
		err = a.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the agent: %w", err), os.RemoveAll(dir))
	}
	go a.listen(out)
	return a, nil
}

// listen takes what the process says until it ends.
func (a *agent) listen(out io.Reader) {
	defer close(a.ended)
	told := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, ok := strings.CutPrefix(lines.Text(), sayInSync+" ")
		n, err := strconv.Atoi(word)
		if !ok || err != nil {
			continue
		}
		a.now.Store(int64(n))
		if n == a.want && !told {
			told = true
			close(a.all)
		}
	}
	a.err = errors.Join(lines.Err(), a.cmd.Wait())
}

func (a *agent) inSync(ctx context.Context) error {
	select {
	case <-a.all:
		return nil
	case <-a.ended:
		return fmt.Errorf("the agent ended: %w", a.err)
	case <-ctx.Done():
		return fmt.Errorf("%d of %d jobs are in sync: %w", a.now.Load(), a.want, context.Cause(ctx))
	}
}

// stillInSync is an error if the jobs did not stay so: what was counted is not what an idle agent asks then.
func (a *agent) stillInSync() error {
	if n := a.now.Load(); n != int64(a.want) {
		return fmt.Errorf("%d of %d jobs are in sync at the end", n, a.want)
	}
	return nil
}

func (a *agent) usage() (scene.Usage, error) { return scene.UsageOf(a.cmd.Process.Pid) }

// stop ends the process and removes its files.
func (a *agent) stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-a.ended:
	case <-time.After(30 * time.Second):
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
	return errors.Join(a.err, os.RemoveAll(a.dir))
}
