package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Times of the listener.
const (
	headerTimeout   = 5 * time.Second
	idleTimeout     = time.Minute
	shutdownTimeout = 5 * time.Second
)

// ErrNotLoopback is wrapped by the refusal to listen where other hosts could connect.
var ErrNotLoopback = errors.New("not a loopback address")

// Config says what a Server serves.
type Config struct {
	Addr          string // host:port; port 0 takes a free one
	AllowExternal bool   // listen also where other hosts can connect: everything here is plaintext and open to all

	Registry *prometheus.Registry // nil: no /metrics
	// Ready is why the process is not ready, nil if it is; nil func: always ready. Called for each request.
	Ready func() error
	// Handlers are served beside the three, by pattern as in http.ServeMux.
	Handlers map[string]http.Handler
	Logger   *slog.Logger
	// Listen binds Addr; nil: net.Listen.
	Listen func(network, addr string) (net.Listener, error)
}

// Handler serves GET /metrics, /healthz (200 as long as the process answers), /readyz (200 or 503 with the reason) and
// the extra handlers.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	if cfg.Registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if cfg.Ready != nil {
			if err := cfg.Ready(); err != nil {
				say(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		say(w, http.StatusOK, "ok")
	})
	for _, pattern := range slices.Sorted(maps.Keys(cfg.Handlers)) {
		mux.Handle(pattern, cfg.Handlers[pattern])
	}

	return mux
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text) // the caller is gone: nothing to do about it
}

// Probes is what a listener serves to whoever watches over the process from outside its host, and nothing else:
// /healthz and /readyz.
func Probes(addr string, ready func() error, log *slog.Logger) Config {
	return Config{Addr: addr, AllowExternal: true, Ready: ready, Logger: log}
}

// Server is the bound listener.
type Server struct {
	cfg Config
	lis net.Listener
}

// Listen binds the address. It refuses one that is not loopback, by ErrNotLoopback, unless AllowExternal says so.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if !cfg.AllowExternal && !Loopback(cfg.Addr) {
		return nil, fmt.Errorf("telemetry on %q: %w: use 127.0.0.1:PORT", cfg.Addr, ErrNotLoopback)
	}
	listen := cfg.Listen
	if listen == nil {
		listen = func(network, addr string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, network, addr)
		}
	}
	lis, err := listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}

	return &Server{cfg: cfg, lis: lis}, nil
}

// Addr is where the server listens, with the port it got.
func (s *Server) Addr() string { return s.lis.Addr().String() }

// Run serves until ctx ends, then lets running requests finish for a moment. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: Handler(s.cfg), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := srv.Shutdown(late); err != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(s.lis)
	if stop() { // Serve ended by itself
		return fmt.Errorf("serving telemetry: %w", err)
	}
	<-stopped

	return nil
}

// Close gives up a server that is not run.
func (s *Server) Close() error { return s.lis.Close() }

// Loopback tells that only this host can connect to what listens at host:port. It takes literal addresses and
// localhost; other names could resolve to anything.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)

	return host == "localhost" || ip != nil && ip.IsLoopback()
}
