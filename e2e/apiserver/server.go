package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Limits of a start and a stop.
const (
	startLimit = 4 * time.Minute // on a machine that is busy with builds
	stopLimit  = 10 * time.Second
	tries      = 5 // of ports
	poll       = 100 * time.Millisecond
)

// Options of Start. The zero value is an API server with RBAC and nothing else.
type Options struct {
	// Controllers also runs kube-controller-manager: garbage collection, quotas, replica sets. There are no nodes.
	Controllers bool
	// AuditPolicy is the YAML of an audit policy; empty: no audit. The log is Server.AuditLog.
	AuditPolicy string

	ports func(ctx context.Context, n int) ([]int, error) // default: freePorts
}

// Server is a running API server. Its fields do not change.
type Server struct {
	URL        string // https://127.0.0.1:PORT
	Kubeconfig string // path of a kubeconfig of an administrator
	AuditLog   string // path; empty without an audit policy

	dir       string
	processes []*process
	client    *http.Client
}

// ForTest starts a server that ends with the test.
func ForTest(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start runs a server until Stop. It returns when the server is ready; ctx bounds the start alone.
func Start(ctx context.Context, o Options) (*Server, error) {
	names := []string{"etcd", "kube-apiserver"}
	if o.Controllers {
		names = append(names, "kube-controller-manager")
	}
	bin, err := binaries(ctx, names)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "waterwheel-apiserver-")
	if err != nil {
		return nil, fmt.Errorf("make room for an API server: %w", err)
	}
	s := &Server{dir: dir}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = s.start(ctx, bin, o)
	for try := 1; err != nil && try < tries && s.robbed(); try++ {
		if err = s.clear(); err == nil {
			err = s.start(ctx, bin, o)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// robbed reports whether a process ended since somebody took its port: it was free when it was chosen, and other tests of
// this machine choose some too.
func (s *Server) robbed() bool {
	p := s.ended()
	return p != nil && strings.Contains(p.words(), "address already in use")
}

// clear ends what was started and empties the directory for another start.
func (s *Server) clear() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return os.Mkdir(s.dir, 0o700)
}

func (s *Server) start(ctx context.Context, bin string, o Options) error {
	choose := freePorts
	if o.ports != nil {
		choose = o.ports
	}
	ports, err := choose(ctx, 3)
	if err != nil {
		return err
	}
	k, err := newKeys(s.dir)
	if err != nil {
		return err
	}
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	s.Kubeconfig = filepath.Join(s.dir, "kubeconfig")
	if err := os.WriteFile(s.Kubeconfig, k.kubeconfig(s.URL), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	if s.client, err = k.client(); err != nil {
		return err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	err = s.run(filepath.Join(bin, "etcd"), "--data-dir", filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--log-level", "warn")
	if err != nil {
		return err
	}
	args := []string{
		"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
		"--secure-port", fmt.Sprint(ports[2]), "--service-cluster-ip-range", "10.0.0.0/16", "--authorization-mode", "RBAC",
		"--tls-cert-file", k.path("server.crt"), "--tls-private-key-file", k.path("server.key"), "--client-ca-file", k.path("ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", k.path("sa.key"),
		"--service-account-signing-key-file", k.path("sa.key"), "--enable-priority-and-fairness=false", "--endpoint-reconciler-type", "none",
	}
	if o.AuditPolicy != "" {
		s.AuditLog = filepath.Join(s.dir, "audit.log")
		policy := filepath.Join(s.dir, "audit.yaml")
		if err := os.WriteFile(policy, []byte(o.AuditPolicy), 0o600); err != nil {
			return fmt.Errorf("write audit policy: %w", err)
		}
		args = append(args, "--audit-policy-file", policy, "--audit-log-path", s.AuditLog, "--audit-log-mode", "blocking")
	}
	if err := s.run(filepath.Join(bin, "kube-apiserver"), args...); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if !o.Controllers {
		return nil
	}
	return s.run(filepath.Join(bin, "kube-controller-manager"), "--kubeconfig", s.Kubeconfig, "--bind-address", "127.0.0.1",
		"--secure-port", "0", "--leader-elect=false", "--service-account-private-key-file", k.path("sa.key"), "--use-service-account-credentials=false")
}

// Stop ends the processes and removes what they wrote. It may be called twice.
func (s *Server) Stop() error {
	var errs []error
	for _, p := range slices.Backward(s.processes) {
		p.end()
	}
	s.processes = nil
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	errs = append(errs, os.RemoveAll(s.dir))
	return errors.Join(errs...)
}

// Pause stops the API server in its tracks, as an outage that answers nothing; the returned func has it go on.
func (s *Server) Pause() (resume func() error, err error) {
	for _, p := range s.processes {
		if p.name == "kube-apiserver" {
			if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				return nil, fmt.Errorf("pause the API server: %w", err)
			}
			return func() error { return p.cmd.Process.Signal(syscall.SIGCONT) }, nil
		}
	}
	return nil, errors.New("pause the API server: it does not run")
}

// ready waits until the server answers that it is, and that the namespace of everybody is there.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if p := s.ended(); p != nil {
			return fmt.Errorf("%s ended: %w: %s", p.name, p.err, p.words())
		}
		last := s.get(ctx, "/readyz")
		if last == nil {
			if last = s.get(ctx, "/api/v1/namespaces/default"); last == nil {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("API server is not ready: %w; last answer: %w%s", context.Cause(ctx), last, s.lastWords())
		}
	}
}

func (s *Server) get(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s", path, res.Status, text)
	}
	return err
}

func (s *Server) lastWords() string {
	var b strings.Builder
	for _, p := range s.processes {
		fmt.Fprintf(&b, "\n--- %s\n%s", p.name, p.words())
	}
	return b.String()
}

func (s *Server) ended() *process {
	for _, p := range s.processes {
		select {
		case <-p.done:
			return p
		default:
		}
	}
	return nil
}

// process is one started binary, its output in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended; err is valid then
	err  error
}

func (s *Server) run(path string, args ...string) error {
	p := &process{name: filepath.Base(path), done: make(chan struct{})}
	p.log = filepath.Join(s.dir, p.name+".log")
	out, err := os.Create(p.log)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd = exec.CommandContext(context.Background(), path, args...) // it outlives its start
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.dir, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.name, err), out.Close())
	}
	s.processes = append(s.processes, p)
	go func() {
		defer close(p.done)
		p.err = errors.Join(p.cmd.Wait(), out.Close())
	}()
	return nil
}

// end asks the process to end, then makes it.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may be paused; an error means that it is gone
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// words is the end of the process's log.
func (p *process) words() string {
	const most = 2 << 10
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// freePorts are n ports of loopback that nobody listens on now.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var (
		ports []int
		conf  net.ListenConfig
	)
	for range n {
		l, err := conf.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all are held until all are found
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (k keys) client() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(k.path("admin.crt"), k.path("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("load the administrator's key: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(k.ca)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}, nil
}
