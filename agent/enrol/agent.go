package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// Config says how to become and stay a member. All but Dial, one of Dir and Keeper, one of TokenFile and Token, and one of
// BundleFile and Pin are required.
type Config struct {
	Dir          string // holds the key and the SVID; made if missing
	Keeper       Keeper // holds them instead
	TokenFile    string // the join token; deleted once it was used
	Token        Token  // the join token instead
	BundleFile   string // trusted roots in PEM, for the first contact and beside the hub's later bundles
	Pin          string // of the hub's root, instead of a bundle: see identity.Pin
	TrustDomain  string
	Hub          string // host:port
	AgentVersion string
	Dial         func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP, through a proxy if the environment names one
	Logger       *slog.Logger
}

const (
	// look is how often the token file and the clock are looked at: a timer alone would miss a machine's sleep.
	look = 5 * time.Second
	// spread is how far from half life a renewal may be, as a part of the life, so that a fleet does not renew at once.
	spread = 0.1
)

const (
	retryMin = time.Second
	joinMax  = time.Minute     // between tries to join
	renewMax = 5 * time.Minute // between tries to renew; less when the end is near
)

// between is how long to wait at most before another try at what failed: an eighth of what is left of an SVID, so that
// there are always several tries before its end.
func between(s *svid, now time.Time) run.Backoff {
	most := joinMax
	if s != nil && now.Before(s.notAfter()) {
		most = min(renewMax, s.notAfter().Sub(now)/8)
	}

	return run.Backoff{Min: retryMin, Max: max(retryMin, most)}
}

// Status is what there is to say about the membership.
type Status struct {
	Cluster  string      // name that the hub knows the cluster by; "" before joining
	ID       identity.ID // zero before joining
	NotAfter time.Time   // end of the SVID
	Message  string      // what is wrong and what to do, in one sentence; "" when all is well
}

// Agent is the membership of one agent. Its methods are safe for concurrent use; Run is called once.
type Agent struct {
	cfg     Config
	key     *ecdsa.PrivateKey
	rotated chan struct{} // size 1
	joined  chan struct{} // closed with the first SVID

	refused string // token that the hub refused for good; owned by Run

	mu      sync.Mutex // guards what follows
	svid    *svid
	cert    *tls.Certificate
	message string
}

// New reads what an earlier life left, and makes the key if there is none. It does not touch the network.
func New(cfg Config) (*Agent, error) {
	if cfg.BundleFile == "" && cfg.Pin == "" {
		return nil, errors.New("joining a hub needs its root: name a bundle file or a pin")
	}
	if cfg.Keeper == nil {
		dir, err := openDirectory(cfg.Dir)
		if err != nil {
			return nil, err
		}
		cfg.Keeper = dir
	}
	if cfg.Token == nil {
		cfg.Token = tokenFile(cfg.TokenFile)
	}
	key, err := loadOrMakeKey(cfg.Keeper)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, key: key, rotated: make(chan struct{}, 1), joined: make(chan struct{})}
	kept, err := loadSVID(cfg.Keeper)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := a.use(kept); err != nil {
			return nil, fmt.Errorf("using the SVID in %s: %w", cfg.Keeper, err)
		}
	}

	return a, nil
}

// Source is the agent's identity for the session. It has no certificate before the agent has joined.
func (a *Agent) Source() identity.Source { return (*source)(a) }

// Wait returns nil when the agent has an SVID, which may have ended; an error only if ctx ends first.
func (a *Agent) Wait(ctx context.Context) error {
	select {
	case <-a.joined:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Rotated gets a signal (never more than one is held) after each new SVID. One receiver.
func (a *Agent) Rotated() <-chan struct{} { return a.rotated }

// Status is the membership of this moment.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{Message: a.message}
	if a.svid != nil {
		s.Cluster, s.ID, s.NotAfter = a.svid.cluster, a.svid.id, a.svid.notAfter()
	}

	return s
}

// Run joins if need be and renews until ctx ends. No trouble with the hub or a token ends it.
func (a *Agent) Run(ctx context.Context) error {
	a.discardSpare(time.Now())
	failed := 0
	for {
		wait, err := a.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			wait = between(a.current(), time.Now()).Next(failed, rand.Float64())
			failed++
			a.say(err.Error())
		} else {
			failed = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()

			return ctx.Err()
		}
	}
}

// discardSpare destroys a token that was given to an agent which is a member already, as an installation that is typed
// again does: nobody else is to find it.
func (a *Agent) discardSpare(now time.Time) {
	if s := a.current(); s == nil || !now.Before(s.notAfter()) {
		return
	}
	if err := a.cfg.Token.Discard(); err != nil {
		a.cfg.Logger.Warn("join token that is not needed cannot be deleted", telemetry.Err(err))
	}
}

// step does what is due now and says when to look again. An error is worth another try.
func (a *Agent) step(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	switch s := a.current(); {
	case s == nil || !now.Before(s.notAfter()):
		return a.join(ctx, s)
	case now.Before(s.renewAt):
		return min(look, s.renewAt.Sub(now)), nil
	default:
		if err := a.renew(ctx); err != nil {
			return 0, fmt.Errorf("certificate is not renewed (it ends %s): %w", s.notAfter().UTC().Format(time.RFC3339), err)
		}

		return look, nil
	}
}

// join trades the token, if there is one that was not refused yet, for an SVID.
func (a *Agent) join(ctx context.Context, ended *svid) (time.Duration, error) {
	token, err := a.cfg.Token.Read()
	if err != nil {
		return 0, err
	}
	switch {
	case token == "" && ended == nil:
		a.say(fmt.Sprintf("not joined: put a join token into %s", a.cfg.Token))

		return look, nil
	case token == "":
		a.say(fmt.Sprintf("certificate ended %s: invite cluster %s again and put the new token into %s; its jobs run on",
			ended.notAfter().UTC().Format(time.RFC3339), ended.cluster, a.cfg.Token))

		return look, nil
	case token == a.refused:
		return look, nil // what to do was said when it was refused
	}
	got, err := a.enrol(ctx, token)
	if permanent(err) {
		a.refused = token
		a.say(fmt.Sprintf("join token refused: %s", text(err)))

		return look, nil
	}
	if err != nil {
		return 0, fmt.Errorf("not joined: %s", text(err))
	}
	if ended != nil && got.id != ended.id {
		a.refused = token
		a.say(fmt.Sprintf("join token is for %s, but the identity in %s belongs to %s: join another cluster with an empty one",
			got.id, a.cfg.Keeper, ended.id))

		return look, nil
	}
	if err := a.take(got); err != nil {
		return 0, err
	}
	if err := a.cfg.Token.Discard(); err != nil {
		// It is worth nothing any more.
		a.cfg.Logger.Warn("used join token cannot be deleted", telemetry.Err(err))
	}
	a.cfg.Logger.Info("joined", telemetry.KeyCluster, got.cluster, "id", got.id.String(), "until", got.notAfter())

	return look, nil
}

func (a *Agent) renew(ctx context.Context) error {
	old := a.current()
	got, err := a.requestRenewal(ctx, old)
	if err != nil {
		return errors.New(text(err))
	}
	if err := a.take(got); err != nil {
		return err
	}
	a.cfg.Logger.Info("certificate renewed", "until", got.notAfter())

	return nil
}

// take keeps a new SVID, then uses it, then tells the session.
func (a *Agent) take(s *svid) error {
	if err := s.save(a.cfg.Keeper); err != nil {
		return err
	}
	if err := a.use(s); err != nil {
		return err
	}
	select {
	case a.rotated <- struct{}{}:
	default:
	}

	return nil
}

func (a *Agent) use(s *svid) error {
	cert, err := identity.TLSCertificate(a.key, s.chain...)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.svid == nil {
		close(a.joined)
	}
	a.svid, a.cert, a.message = s, cert, ""

	return nil
}

func (a *Agent) current() *svid {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.svid
}

// say keeps the sentence for Status. It is logged when trouble begins, and as a detail when only its words change: a hub
// can be gone for days.
func (a *Agent) say(message string) {
	a.mu.Lock()
	before := a.message
	a.message = message
	a.mu.Unlock()
	level := slog.LevelDebug
	if before == "" {
		level = slog.LevelWarn
	}
	if before != message {
		a.cfg.Logger.Log(context.Background(), level, "membership needs attention", "message", message)
	}
}

// source is the Agent as the session's TLS sees it.
type source Agent

func (s *source) Certificate() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.cert
}

// Roots are those of the hub's last word and those of the bundle file, which may know a root that the hub had not yet
// when this agent last heard of it. Nil, before joining by a pin.
func (s *source) Roots() *x509.CertPool {
	a := (*Agent)(s)
	var roots []*x509.Certificate
	if got := a.current(); got != nil {
		roots = append(roots, got.bundle...)
	}
	if a.cfg.BundleFile != "" {
		more, err := readBundle(a.cfg.BundleFile)
		if err != nil && len(roots) == 0 {
			a.cfg.Logger.Error("trusted roots cannot be read", telemetry.Err(err))
		}
		roots = append(roots, more...)
	}
	if len(roots) == 0 {
		return nil
	}

	return identity.Pool(roots...)
}

// renewAt is when an SVID got at now and ending at notAfter should be followed by the next; random is of [0, 1).
// It counts from the moment it was got, by this machine's clock, and not from its beginning, which lies in the past.
func renewAt(now, notAfter time.Time, random float64) time.Time {
	part := 0.5 + spread*(2*random-1)

	// Round(0): by the wall clock, which goes on while the machine sleeps.
	return now.Add(time.Duration(float64(notAfter.Sub(now)) * part)).Round(0)
}
