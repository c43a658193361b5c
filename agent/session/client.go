package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// The states of a session.
const (
	Connecting = "connecting"
	Connected  = "connected" // welcomed
	Waiting    = "waiting"   // for the next try
)

// States lists all states, for metrics.
func States() []string { return []string{Connecting, Connected, Waiting} }

// State is what people see of a session.
type State struct {
	State     string
	Since     time.Time // of State
	LastHeard time.Time // last frame of the hub; zero: none in this life of the agent
	Reason    string    // why the last stream ended, one word
	Err       string    // the same in a sentence; empty while connected
	RetryAt   time.Time
	Attempts  int // failed in a row
	Session   string
	Epoch     feed.Epoch // of the hub
	Cursor    feed.Cursor
	Rows      int // live rows on record
	Pending   int // reports that the hub must have on disk and is not known to
}

// Client is the agent's end. Run owns it; Report and State may be called from any goroutine.
type Client struct {
	cfg      Config
	log      *slog.Logger
	instance string

	kick chan struct{} // size 1: the sender should look again

	mu     sync.Mutex // guards what follows
	state  State
	latest map[string]flink.Status // of each job, as last reported by the reconciler
	dirty  map[string]urgency      // jobs whose latest status the hub was not told
}

// New makes a client that does nothing until Run.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger, instance: nonce(), kick: make(chan struct{}, 1),
		latest: map[string]flink.Status{}, dirty: map[string]urgency{},
	}
	c.state.State, c.state.Since = Connecting, time.Now()

	return c, nil
}

// State is the session as it stands.
func (c *Client) State() State {
	st := c.cfg.Store.Standing()
	pending := len(c.cfg.Store.Reports())
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.state
	out.Cursor, out.Rows, out.Pending = st.Cursor, st.Count, pending

	return out
}

// Run keeps one stream to the hub until ctx ends. It returns nil then and nothing else ends it.
func (c *Client) Run(ctx context.Context) error {
	failures := 0 // in a row
	for ctx.Err() == nil {
		failures = c.once(ctx, failures)
	}

	return nil
}

// once opens a stream, serves it to its end, and waits until it is time for the next. It returns how many did not last.
func (c *Client) once(ctx context.Context, failures int) int {
	c.become(Connecting)
	select {
	case <-c.cfg.Rotated: // the next handshake shows the new certificate anyway
	default:
	}
	s, err := c.open(ctx)
	if err == nil {
		welcomed := time.Now()
		if err = c.serve(ctx, s); time.Since(welcomed) >= settledAfter {
			failures = 0
		}
	}
	if ctx.Err() != nil {
		return failures
	}
	e := classify(err)
	wait := e.wait(failures, mathrand.Float64())
	failures++
	c.ended(err, e, failures, wait)
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	case <-c.cfg.Rotated: // what was refused may be let in now, as after joining again
	}

	return failures
}

// serve runs welcomed streams, one after the other as certificates change, until one ends by itself.
func (c *Client) serve(ctx context.Context, s *stream) error {
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	for {
		s.start()
		next, err := c.follow(ctx, s, retry)
		if err != nil {
			s.stop(err)

			return s.wait()
		}
		if next == nil {
			return s.wait()
		}
		s.stop(errReplaced)
		_ = s.wait() // ended by us
		s = next
	}
}

// follow waits until the stream ends (nil, nil), ctx ends, or a stream with the new certificate is welcomed.
func (c *Client) follow(ctx context.Context, s *stream, retry *time.Timer) (*stream, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.done:
			return nil, nil
		case <-c.cfg.Rotated:
		case <-retry.C:
		}
		next, err := c.open(ctx)
		if err == nil {
			return next, nil
		}
		c.log.Info("second stream not opened", telemetry.KeyError, text(err))
		retry.Reset(rotateRetry)
	}
}

// connected writes down that a stream was welcomed.
func (c *Client) connected(s *stream) {
	c.mu.Lock()
	again := c.state.State == Connected
	c.state.Session, c.state.Epoch = s.session, s.epoch
	c.state.Err, c.state.Reason, c.state.Attempts, c.state.RetryAt = "", "", 0, time.Time{}
	c.state.LastHeard = time.Now()
	c.mu.Unlock()
	c.become(Connected)
	if !again {
		c.log.Info("stream to the hub is up", "session", s.session, telemetry.KeyEpoch, s.epoch.Number)
	}
}

// ended writes down why there is no stream. Only a change is worth a line: a hub can be gone for days.
func (c *Client) ended(err error, e ending, attempts int, wait time.Duration) {
	c.mu.Lock()
	fresh := c.state.Reason != e.reason || c.state.Err == ""
	c.state.Err, c.state.Reason = text(err), e.reason
	c.state.Attempts, c.state.RetryAt = attempts, time.Now().Add(wait)
	c.mu.Unlock()
	c.become(Waiting)
	level := slog.LevelDebug
	if fresh {
		level = slog.LevelInfo
	}
	c.log.Log(context.Background(), level, "no stream to the hub", "reason", e.reason, telemetry.KeyError, text(err), telemetry.KeyWait, wait)
}

func (c *Client) become(state string) {
	c.mu.Lock()
	if c.state.State != state {
		c.state.State, c.state.Since = state, time.Now()
	}
	c.mu.Unlock()
	if c.cfg.Metrics != nil {
		c.cfg.Metrics.Session.Set(state)
	}
}

func (c *Client) heard() {
	c.mu.Lock()
	c.state.LastHeard = time.Now()
	c.mu.Unlock()
}

func (c *Client) look() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func nonce() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(fmt.Sprintf("session: no randomness: %v", err))
	}

	return hex.EncodeToString(b[:])
}
