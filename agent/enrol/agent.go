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

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// Config says how to become and stay a member. All but Dial, one of Dir and Keeper, one of TokenFile and Token, and one of
// BundleFile and Pin are required.
type Config struct {
	Dir          string        // holds the key and the SVID; made if missing
	Keeper       Keeper        // holds them instead
	Site         func() string // names where the agent's records are; nil: nowhere
	TokenFile    string        // the join token; deleted once it was used
	Token        Token         // the join token instead
	TokenStays   time.Duration // how long a used token is left where it was, for what put it there to see it
	BundleFile   string        // trusted roots in PEM, for the first contact and beside the hub's later bundles
	Pin          string        // of the hub's root, instead of a bundle: see identity.Pin
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
	cfg       Config
	enrolment *ecdsa.PrivateKey // proves the enrolment, and nothing else
	rotated   chan struct{}     // size 1
	joined    chan struct{}     // closed with the first SVID

	// Owned by Run.
	key     *ecdsa.PrivateKey // of a request to join
	refused string            // token that the hub refused for good
	spent   time.Time         // when a token was used that is not destroyed yet
	outcast time.Time         // when the hub last refused to reattest
	absent  time.Time         // end of the certificate of which that was logged

	mu      sync.Mutex // guards what follows
	svid    *svid
	cert    *tls.Certificate
	message string
}

// New reads what an earlier life left, and makes the keys that are missing. It does not touch the network.
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
	if cfg.Site == nil {
		cfg.Site = func() string { return "" }
	}
	key, err := loadOrMakeKey(cfg.Keeper, keyFile)
	if err != nil {
		return nil, err
	}
	enrolment, err := loadOrMakeKey(cfg.Keeper, enrolmentFile)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, key: key, enrolment: enrolment, rotated: make(chan struct{}, 1), joined: make(chan struct{})}
	kept, err := loadSVID(cfg.Keeper, key)
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

// Run joins if need be, renews, and comes back after an absence, until ctx ends. No trouble with the hub or a token ends it.
func (a *Agent) Run(ctx context.Context) error {
	a.discardSpare(time.Now())
	failed := 0
	for {
		wait, err := a.step(ctx)
		a.discardSpent(time.Now())
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

// discardSpent destroys a token that was used, once it has stayed long enough. An agent that ends before does it when it
// starts again.
func (a *Agent) discardSpent(now time.Time) {
	if a.spent.IsZero() || now.Sub(a.spent) < a.cfg.TokenStays {
		return
	}
	a.spent = time.Time{}
	if err := a.cfg.Token.Discard(); err != nil {
		// It is worth nothing any more.
		a.cfg.Logger.Warn("used join token cannot be deleted", telemetry.Err(err))
	}
}

// step does what is due now and says when to look again. An error is worth another try.
func (a *Agent) step(ctx context.Context) (time.Duration, error) {
	now, s := time.Now(), a.current()
	at := situation{refused: a.outcast}
	if s != nil {
		at.member, at.notAfter, at.renewAt = true, s.notAfter(), s.renewAt
	}
	token := ""
	if s == nil || at.ended(now) {
		var err error
		if token, err = a.cfg.Token.Read(); err != nil {
			return 0, err
		}
		at.token = token != "" && token != a.refused
	}
	switch due(at, now) {
	case joining:
		return a.join(ctx, token, s)
	case proving:
		return a.reattest(ctx, s)
	case renewing:
		if err := a.renew(ctx, s); err != nil {
			return 0, fmt.Errorf("certificate is not renewed (it ends %s): %w", s.notAfter().UTC().Format(time.RFC3339), err)
		}
	case rest:
		if s == nil && token == "" {
			a.say(fmt.Sprintf("not joined: put a join token into %s", a.cfg.Token))
		}
		if s != nil && now.Before(s.renewAt) {
			return min(look, s.renewAt.Sub(now)), nil
		}
	}

	return look, nil // what to do was said when something was refused
}

// join trades the token for an SVID.
func (a *Agent) join(ctx context.Context, token string, ended *svid) (time.Duration, error) {
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
	a.spent = time.Now()
	a.cfg.Logger.Info("joined", telemetry.KeyCluster, got.cluster, "id", got.id.String(), "until", got.notAfter())

	return look, nil
}

// reattest proves the enrolment for an SVID after the one that ended. Only a hub that refuses for good makes it a
// person's matter; it is asked again all the same, now and then.
func (a *Agent) reattest(ctx context.Context, ended *svid) (time.Duration, error) {
	if !a.absent.Equal(ended.notAfter()) {
		a.absent = ended.notAfter()
		a.cfg.Logger.Info("certificate ended: the hub is asked for another by the enrolment key", "ended", a.absent)
	}
	got, err := a.requestReturn(ctx, ended)
	if permanent(err) || status.Code(err) == codes.Unimplemented { // the latter by a hub of before this was thought of
		a.outcast = time.Now()
		a.cfg.Logger.Warn("the hub does not let this agent back in", "why", text(err))
		a.say(inviteAgain(ended, text(err), a.cfg.Token))

		return look, nil
	}
	if err != nil {
		return 0, fmt.Errorf("certificate ended %s; the hub is asked for another on the strength of the enrolment key until it answers: %s",
			ended.notAfter().UTC().Format(time.RFC3339), text(err))
	}
	if err := a.take(got); err != nil {
		return 0, err
	}
	a.outcast = time.Time{}
	a.cfg.Logger.Info("back at the hub by the enrolment key, with a new certificate", telemetry.KeyCluster, got.cluster,
		"ended", ended.notAfter(), "until", got.notAfter())

	return look, nil
}

func (a *Agent) renew(ctx context.Context, old *svid) error {
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
	if s.key.Equal(a.key) {
		return nil
	}
	// An agent of before keys changed looks for the SVID's key there: a way back to it.
	if err := keepKey(a.cfg.Keeper, keyFile, s.key); err != nil {
		a.cfg.Logger.Warn("key of the certificate is not kept for an older agent", telemetry.Err(err))

		return nil
	}
	a.key = s.key

	return nil
}

func (a *Agent) use(s *svid) error {
	cert, err := identity.TLSCertificate(s.key, s.chain...)
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
