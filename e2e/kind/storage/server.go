package storage

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// region is the one that S3 clients assume when they are told none.
const region = "us-east-1"

// healthPath answers as soon as the server serves.
const healthPath = "/healthz"

// Options says where the server keeps its things and who can reach it.
type Options struct {
	Dir     string       // holds data, credentials and log; made if missing
	Host    string       // IP address to listen at: the one that pods of all clusters reach
	Binary  string       // default: Gateway
	Buckets []string     // made if missing
	Log     *slog.Logger // default: none
}

// Credentials open every bucket of one server.
type Credentials struct{ AccessKey, SecretKey string }

// Server is an S3-compatible server, running or not. It outlives this program
// unless it is stopped. Methods may be called from many goroutines.
type Server struct {
	dir string
	log *slog.Logger

	mu    sync.Mutex // serialises what changes the process
	state state
}

// state is what another program needs to find the server again.
type state struct {
	Binary    string `json:"binary"`
	Address   string `json:"address"`
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Process   process
}

// Start returns a server that answers. One that already runs in the directory is
// taken as it is; one that ran there before comes back at its address, with its
// credentials and its data.
func Start(ctx context.Context, opts Options) (*Server, error) {
	s, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start the object storage: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, opts Options) (*Server, error) {
	s, err := Attach(opts.Dir, opts.Log)
	if errors.Is(err, os.ErrNotExist) {
		s, err = create(ctx, opts)
	}
	if err != nil {
		return nil, err
	}
	if host, _, _ := net.SplitHostPort(s.state.Address); host != opts.Host {
		return nil, fmt.Errorf("it ran at %s before and jobs know it there, not at %s", s.state.Address, opts.Host)
	}
	if s.state.Binary = cmp.Or(opts.Binary, s.state.Binary); s.state.Binary == "" {
		if s.state.Binary, err = Gateway(ctx, s.log); err != nil {
			return nil, err
		}
	}
	for _, bucket := range opts.Buckets {
		if err := os.MkdirAll(filepath.Join(s.dir, "data", bucket), 0o755); err != nil {
			return nil, err
		}
	}
	return s, s.Reachable(ctx)
}

// create makes the directory of a server that never ran.
func create(ctx context.Context, opts Options) (*Server, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"data", "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress(ctx, opts.Host)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, log: logger(opts.Log), state: state{
		Address:   address,
		AccessKey: "W" + strings.ToUpper(rand.Text()[:19]),
		SecretKey: rand.Text() + rand.Text(),
	}}
	return s, s.save()
}

// freeAddress finds a port below those that the system gives to outgoing
// connections: one of them must not take it while the server is unreachable.
func freeAddress(ctx context.Context, host string) (string, error) {
	const first, count, attempts = 20_000, 10_000, 20
	var refused error
	for range attempts {
		port, err := rand.Int(rand.Reader, big.NewInt(count))
		if err != nil {
			return "", err
		}
		address := net.JoinHostPort(host, strconv.FormatInt(first+port.Int64(), 10))
		free, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return address, free.Close()
		}
		refused = err
	}
	return "", refused
}

// Attach returns the server of that directory, whether it runs or not. Without
// one the error is os.ErrNotExist.
func Attach(dir string, log *slog.Logger) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return nil, fmt.Errorf("object storage: %w", err)
	}
	s := &Server{dir: dir, log: logger(log)}
	if err := json.Unmarshal(b, &s.state); err != nil {
		return nil, fmt.Errorf("object storage: %s: %w", stateFile(dir), err)
	}
	return s, nil
}

func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func stateFile(dir string) string { return filepath.Join(dir, "server.json") }

// save replaces the state in one step; it holds the secret key.
func (s *Server) save() error {
	b, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	temporary := stateFile(s.dir) + ".new"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, stateFile(s.dir))
}

// Endpoint is the server's URL. It does not change.
func (s *Server) Endpoint() string { return "http://" + s.state.Address }

// Credentials are made with the server's directory and do not change.
func (s *Server) Credentials() Credentials {
	return Credentials{AccessKey: s.state.AccessKey, SecretKey: s.state.SecretKey}
}

// Settings is what Flink has to be told to use the server, but for credentials.
func (s *Server) Settings() map[string]string {
	return map[string]string{
		"s3.endpoint":          s.Endpoint(),
		"s3.path.style.access": "true",
		// Else its client deletes the parents of what it writes, which are not empty
		// directories here, and tries again for ever.
		"s3.directory.marker.retention": "keep",
	}
}

// FailFast is what makes Flink say within seconds that storage fails, where by
// default it tries for minutes.
func FailFast() map[string]string {
	return map[string]string{"s3.attempts.maximum": "1", "s3.retry.limit": "1", "s3.retry.interval": "100ms"}
}

// Pause stops the process where it is: connections open and nothing answers. It
// returns when the process stands.
func (s *Server) Pause(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.Process.pause(ctx); err != nil {
		return fmt.Errorf("pause the object storage: %w", err)
	}
	return nil
}

// Resume ends a Pause.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.Process.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume the object storage: %w", err)
	}
	return nil
}

// Unreachable ends the process: connections are refused until Reachable. It
// returns when the process is gone; a stopped one may be ended again.
func (s *Server) Unreachable(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.Process.end(ctx); err != nil {
		return fmt.Errorf("stop the object storage: %w", err)
	}
	return nil
}

// Stop is the end of the server, and of nothing that it stored.
func (s *Server) Stop(ctx context.Context) error { return s.Unreachable(ctx) }

// Reachable starts the process if it is not running, resumes it if it is paused,
// and returns when it answers.
func (s *Server) Reachable(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Process.signal(syscall.SIGCONT) != nil {
		if err := s.launch(); err != nil {
			return fmt.Errorf("start the object storage: %w", err)
		}
		if err := s.save(); err != nil {
			return errors.Join(fmt.Errorf("record the object storage: %w", err), s.state.Process.end(ctx))
		}
		s.log.InfoContext(ctx, "object storage started", "endpoint", s.Endpoint(), "pid", s.state.Process.PID)
	}
	if err := s.answers(ctx); err != nil {
		return fmt.Errorf("object storage at %s: %w", s.Endpoint(), err)
	}
	return nil
}

// launch starts the process. Keys go by its environment: all may read arguments.
func (s *Server) launch() error {
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	s.state.Process, err = spawn(out,
		[]string{
			s.state.Binary, "--port", s.state.Address, "--region", region, "--health", healthPath, "--quiet",
			"posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"),
		},
		append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.state.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.state.SecretKey))
	return err
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "server.log") }

// patience is how long the server may take to answer after a start.
const patience = 2 * time.Minute

// answers waits until the server does.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no answer in "+patience.String()))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ask(ctx)
		if err == nil {
			return nil
		}
		if !s.state.Process.alive() {
			return fmt.Errorf("it ended: %s", lastLine(s.logFile()))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (s *Server) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint()+healthPath, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", resp.Status)
	}
	return nil
}

func lastLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
