package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/dev/relay"
)

// dialTimeout bounds how long a connection waits for the hub.
const dialTimeout = 5 * time.Second

// supervisor keeps the processes of a world up and holds its relays.
type supervisor struct {
	at    layout
	bin   binaries
	log   *slog.Logger
	since time.Time
	leave context.CancelFunc

	mu      sync.Mutex
	ctx     context.Context // of everything it runs
	wg      sync.WaitGroup
	keepers map[string]*keeper
	order   []string // of keepers, as started
	relays  map[string]*relay.Relay
	states  relays
}

// errLeft says that it was asked to leave the processes to themselves.
var errLeft = errors.New("asked to leave")

// supervise runs until ctx ends or it is asked to leave. The processes it keeps
// live on. There is one supervisor of a world at a time: a second one ends at once.
func supervise(ctx context.Context, at layout, bin binaries, log *slog.Logger) error {
	unlock, err := lock(at.lockFile(supervisorName))
	if err != nil {
		return err
	}
	defer unlock()
	w, ok, err := at.load()
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s holds no world: begin with `waterwheel dev up`", at)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &supervisor{
		at: at, bin: bin, log: log, since: time.Now(), leave: func() { cancel(errLeft) },
		ctx: ctx, keepers: map[string]*keeper{}, relays: map[string]*relay.Relay{}, states: w.Relays,
	}
	defer s.wg.Wait()
	defer cancel(nil)
	lis, err := at.listenControl()
	if err != nil {
		return err
	}
	defer os.Remove(at.path(socketName))
	s.wg.Go(func() {
		trimLogs(ctx, at.logs(), maxLog, func(err error) { log.WarnContext(ctx, "logs not trimmed", "err", err) })
	})
	if err := s.reload(); err != nil {
		log.ErrorContext(ctx, "world not whole", "err", err)
	}
	return s.serve(ctx, lis)
}

func (s *supervisor) serve(ctx context.Context, lis net.Listener) error {
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(late) // whoever still asks then gets no answer
	})
	err := srv.Serve(lis)
	if stop() {
		return fmt.Errorf("serve control: %w", err)
	}
	<-stopped
	return nil
}

// reload brings up what dev.json and the files beside it name and what is not kept yet.
func (s *supervisor) reload() error {
	w, _, err := s.at.load()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errLeft
	}
	var errs []error
	for _, c := range w.Clusters {
		errs = append(errs, s.relay(w, c))
	}
	if isFile(s.at.hubConfig()) {
		s.keep(w, hubName, s.bin.hub(s.at))
	}
	for _, c := range w.Clusters {
		if isFile(s.at.agentConfig(c.Name)) {
			s.keep(w, c.process(), s.bin.agent(s.at, c.Name))
		}
	}
	return errors.Join(errs...)
}

func (s *supervisor) relay(w world, c cluster) error {
	if s.relays[c.Name] != nil {
		return nil
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(s.ctx, "tcp", address(c.Relay))
	if err != nil {
		return fmt.Errorf("relay of %s: %w", c.Name, err)
	}
	state := s.states[c.Name]
	if state == "" {
		state = relay.Open
	}
	far := net.Dialer{Timeout: dialTimeout}
	r := relay.New(lis, func(ctx context.Context) (net.Conn, error) { return far.DialContext(ctx, "tcp", address(w.Hub.Agents)) }, state)
	s.relays[c.Name] = r
	s.wg.Go(func() {
		if err := r.Run(s.ctx); err != nil {
			s.log.ErrorContext(s.ctx, "relay ended", "cluster", c.Name, "err", err)
		}
	})
	return nil
}

func (s *supervisor) keep(w world, name string, argv []string) {
	noRestart := contains(w.NoRestart, name)
	if k := s.keepers[name]; k != nil {
		k.setNoRestart(noRestart)
		return
	}
	k := newKeeper(name, noRestart, func() (child, error) { return s.start(name, argv) }, s.log)
	s.keepers[name] = k
	s.order = append(s.order, name)
	s.wg.Go(func() { k.run(s.ctx) })
}

// start adopts the process of a name that lives, or else starts it.
func (s *supervisor) start(name string, argv []string) (child, error) {
	all, err := findProcesses(string(s.at))
	if err != nil {
		return child{}, err
	}
	for _, f := range all {
		if f.name == name {
			return f.watch(string(s.at), s.ctx.Done()), nil
		}
	}
	return spawn(string(s.at), name, s.at.log(name), argv)
}

func (s *supervisor) status() supervision {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := supervision{PID: os.Getpid(), Since: s.since}
	for _, name := range s.order {
		out.Processes = append(out.Processes, s.keepers[name].Status())
	}
	for _, name := range sortedKeys(s.relays) {
		state, conns := s.relays[name].State()
		out.Relays = append(out.Relays, relayStatus{Cluster: name, Address: s.relays[name].Addr(), State: state, Connections: conns})
	}
	return out
}

// setRelay changes a relay and remembers it for the supervisor after this one.
func (s *supervisor) setRelay(q relayRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.relays[q.Cluster]
	if r == nil {
		return fmt.Errorf("no cluster %q here: %s", q.Cluster, listOf(sortedKeys(s.relays)))
	}
	switch q.State {
	case relay.Open:
		delete(s.states, q.Cluster)
	case relay.Cut, relay.Reset:
		s.states[q.Cluster] = q.State
	default:
		return fmt.Errorf("a relay is open, cut or reset, not %q", q.State)
	}
	if err := s.at.saveRelays(s.states); err != nil {
		return err
	}
	r.Set(q.State)
	s.log.InfoContext(s.ctx, "relay changed", "cluster", q.Cluster, "state", q.State)
	return nil
}

func (s *supervisor) setRestart(q restartRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keepers[q.Name]
	if k == nil {
		return fmt.Errorf("no process %q here: %s", q.Name, listOf(s.order))
	}
	k.setNoRestart(!q.Restart)
	return nil
}

func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.status()) // the caller is gone: nobody to tell
	})
	mux.HandleFunc("POST /reload", answer(func(struct{}) error { return s.reload() }))
	mux.HandleFunc("POST /relay", answer(s.setRelay))
	mux.HandleFunc("POST /restart", answer(s.setRestart))
	mux.HandleFunc("POST /leave", answer(func(struct{}) error { s.leave(); return nil }))
	return mux
}

// answer makes a handler of a func: its error is the answer's text.
func answer[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q T
		raw, err := io.ReadAll(io.LimitReader(r.Body, maxControl))
		if err == nil && len(raw) > 0 {
			err = json.Unmarshal(raw, &q)
		}
		if err == nil {
			err = do(q)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}
}
