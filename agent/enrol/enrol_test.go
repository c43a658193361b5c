package enrol_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

const (
	life   = 24 * time.Hour
	domain = "example.org"
)

// hub is a small hub: it gives a certificate for the token it expects, as often as it is asked.
type hub struct {
	agentv1.UnsafeEnrolServiceServer

	t        *testing.T
	root     *x509.Certificate
	key      *ecdsa.PrivateKey
	listener *bufconn.Listener

	mu     sync.Mutex // guards what follows
	token  string
	uid    string
	refuse error    // answer to every request, if set
	lost   int      // so many answers are lost after the work was done
	keys   []string // of each request, in order
	asked  []string // Enrol, Renew or Reattest
	record []byte   // enrolment key, as of the last Enrol
	sites  []string // of each Reattest
	life   time.Duration
	cut    error // of the line to it, if set
}

// inHub runs a test in a bubble with a hub.
func inHub(t *testing.T, test func(*testing.T, *hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hub{t: t, listener: bufconn.Listen(1 << 20), token: "wwj1.good", uid: "c1", life: life}
		h.key = must(identity.NewKey())(t)
		h.root = h.sign(&x509.Certificate{
			NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, nil, &h.key.PublicKey)
		own := must(identity.NewKey())(t)
		leaf := h.issue("spiffe://"+domain+"/hub", &own.PublicKey, 10*365*24*time.Hour)
		src := identity.NewStaticSource(must(identity.TLSCertificate(own, leaf, h.root))(t), identity.Pool(h.root))
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.ServerTLS(identity.Server{
			Source: src, TrustDomain: domain, AllowAnonymous: true, Check: func(identity.Peer) error { return nil },
		}))))
		agentv1.RegisterEnrolServiceServer(server, h)
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := server.Serve(h.listener); err != nil {
				t.Errorf("hub: %v", err)
			}
		})
		synctest.Wait() // a server that is stopped before it serves says so
		test(t, h)
		server.Stop()
		serving.Wait()
	})
}

func (h *hub) sign(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
	h.t.Helper()
	if parent == nil {
		parent = tmpl
	}
	tmpl.SerialNumber = must(rand.Int(rand.Reader, big.NewInt(1<<62)))(h.t)
	tmpl.NotBefore = time.Now().Add(-5 * time.Minute)
	der := must(x509.CreateCertificate(rand.Reader, tmpl, parent, pub, h.key))(h.t)

	return must(x509.ParseCertificate(der))(h.t)
}

func (h *hub) issue(id string, pub *ecdsa.PublicKey, life time.Duration) *x509.Certificate {
	return h.sign(&x509.Certificate{
		NotAfter: time.Now().Add(life), URIs: []*url.URL{must(url.Parse(id))(h.t)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, h.root, pub)
}

// selfSigned is another root.
func (h *hub) selfSigned(key *ecdsa.PrivateKey) *x509.Certificate {
	h.t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}

	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key))(h.t)))(h.t)
}

func (h *hub) Enrol(ctx context.Context, req *agentv1.EnrolRequest) (*agentv1.EnrolResponse, error) {
	if err := prove(ctx, identity.Claim{Purpose: identity.ToEnrol, Subject: req.GetToken(), CSR: req.GetCsr()}, req.GetEnrolmentKey()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	h.set(func(h *hub) { h.record = req.GetEnrolmentKey() })
	leaf, err := h.answer("Enrol", req.GetToken(), req.GetCsr())
	if err != nil {
		return nil, err
	}

	return agentv1.EnrolResponse_builder{
		Chain: [][]byte{leaf.Raw}, Bundle: [][]byte{h.root.Raw}, ClusterName: "eu-1",
	}.Build(), nil
}

func (h *hub) Renew(ctx context.Context, req *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	if _, err := identity.PeerOf(&info.State); err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	leaf, err := h.answer("Renew", h.token, req.GetCsr())
	if err != nil {
		return nil, err
	}

	return agentv1.RenewResponse_builder{Chain: [][]byte{leaf.Raw}, Bundle: [][]byte{h.root.Raw}}.Build(), nil
}

// Reattest knows one enrolment, that of the last Enrol.
func (h *hub) Reattest(ctx context.Context, req *agentv1.ReattestRequest) (*agentv1.ReattestResponse, error) {
	err := prove(ctx, identity.Claim{
		Purpose: identity.ToReattest, Subject: req.GetSpiffeId(), Site: req.GetSiteUid(), CSR: req.GetCsr(),
	}, req.GetEnrolmentKey())
	h.mu.Lock()
	h.sites = append(h.sites, req.GetSiteUid())
	known := err == nil && slices.Equal(h.record, req.GetEnrolmentKey()) && req.GetSpiffeId() == "spiffe://"+domain+"/cluster/"+h.uid
	h.mu.Unlock()
	token := h.token
	if !known {
		token = "unknown"
	}
	leaf, err := h.answer("Reattest", token, req.GetCsr())
	if err != nil {
		return nil, err
	}

	return agentv1.ReattestResponse_builder{Chain: [][]byte{leaf.Raw}, Bundle: [][]byte{h.root.Raw}}.Build(), nil
}

// prove checks what comes with a call.
func prove(ctx context.Context, c identity.Claim, der []byte) error {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	key, err := identity.ParsePublicKey(der)
	if err != nil {
		return err
	}
	if c.Hub, err = identity.HubID(domain); err != nil {
		return err
	}

	return c.Verify(&info.State, key, []byte(strings.Join(metadata.ValueFromIncomingContext(ctx, identity.ProofKey), "")))
}

func (h *hub) answer(what, token string, csr []byte) (*x509.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pub := must(identity.ParseCSR(csr))(h.t)
	h.keys, h.asked = append(h.keys, must(identity.KeyHash(pub))(h.t)), append(h.asked, what)
	switch {
	case h.refuse != nil:
		return nil, h.refuse
	case token != h.token:
		return nil, status.Error(codes.PermissionDenied, "join token is not known to this hub")
	case h.lost > 0:
		h.lost--

		return nil, status.Error(codes.Unavailable, "connection lost")
	}

	return h.issue("spiffe://"+domain+"/cluster/"+h.uid, pub, h.life), nil
}

// set changes the hub's ways.
func (h *hub) set(change func(*hub)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *hub) requests(what string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.asked {
		if a == what {
			n++
		}
	}

	return n
}

// config is an agent's in dir, with the hub's root in a file.
func (h *hub) config(dir string) enrol.Config {
	bundle := filepath.Join(dir, "hub-ca.pem")
	h.write(bundle, string(identity.EncodeCertificates(h.root)))

	return enrol.Config{
		Dir: filepath.Join(dir, "identity"), TokenFile: filepath.Join(dir, "token"), BundleFile: bundle, TrustDomain: domain,
		Hub: "hub.test:1", AgentVersion: "test", Logger: slog.New(slog.DiscardHandler),
		Dial: h.dial,
	}
}

func (h *hub) dial(ctx context.Context, _ string) (net.Conn, error) {
	h.mu.Lock()
	cut := h.cut
	h.mu.Unlock()
	if cut != nil {
		return nil, cut
	}

	return h.listener.DialContext(ctx)
}

func (h *hub) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start runs an agent until the returned func is called.
func start(t *testing.T, cfg enrol.Config) (*enrol.Agent, func()) {
	t.Helper()
	a := must(enrol.New(cfg))(t)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the agent ended: %v", err)
		}
	})

	return a, func() { cancel(); running.Wait() }
}

// pass lets false time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAgentJoinsByTokenAndDeletesIt(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token+"\n")
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s := a.Status()
		if s.Cluster != "eu-1" || s.ID.String() != "spiffe://example.org/cluster/c1" || s.Message != "" {
			t.Errorf("status %+v", s)
		}
		if _, err := os.Stat(cfg.TokenFile); !os.IsNotExist(err) {
			t.Errorf("token file: %v, want it gone", err)
		}
		for _, name := range []string{"agent.key", "enrolment.key", "svid.json"} {
			if info := must(os.Stat(filepath.Join(cfg.Dir, name)))(t); info.Mode().Perm() != 0o600 {
				t.Errorf("%s is %v, want 0600", name, info.Mode())
			}
		}
		select {
		case <-a.Rotated():
		default:
			t.Error("no signal of the first SVID")
		}
		if a.Source().Certificate() == nil || a.Source().Roots() == nil {
			t.Error("the session has no identity")
		}
	})
}

func TestATokenGivenToAMemberIsDestroyed(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		_, stop := start(t, cfg)
		synctest.Wait()
		stop()
		h.write(cfg.TokenFile, "another")
		a, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if _, err := os.Stat(cfg.TokenFile); !os.IsNotExist(err) {
			t.Errorf("token file: %v, want it gone", err)
		}
		if s := a.Status(); s.Cluster != "eu-1" || s.Message != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestLostAnswerIsAskedForAgainWithTheSameKeyAlsoAfterARestart(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		h.lost = 2
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		_, stop := start(t, cfg)
		synctest.Wait()
		stop()
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.keys) != 3 || h.keys[0] != h.keys[1] || h.keys[1] != h.keys[2] {
			t.Errorf("keys of the requests: %v, want three times the same", h.keys)
		}
	})
}

func TestRefusedTokenIsAskedForOnceAndANewOneIsFoundWithoutRestart(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		a, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if m := a.Status().Message; !strings.Contains(m, cfg.TokenFile) {
			t.Errorf("without a token: %q, want it to name the file", m)
		}
		h.write(cfg.TokenFile, "wwj1.bad")
		pass(time.Hour)
		if n := h.requests("Enrol"); n != 1 {
			t.Errorf("a refused token was tried %d times, want 1", n)
		}
		if m := a.Status().Message; !strings.Contains(m, "refused") || strings.Contains(m, "rpc error") {
			t.Errorf("message %q", m)
		}
		h.write(cfg.TokenFile, h.token)
		pass(10 * time.Second)
		if s := a.Status(); s.Cluster != "eu-1" || s.Message != "" {
			t.Errorf("with a good token: %+v", s)
		}
	})
}

func TestRenewalIsAboutHalfLifeAndSignalled(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		<-a.Rotated()
		first := a.Source().Certificate()
		pass(life*4/10 - time.Minute)
		if n := h.requests("Renew"); n != 0 {
			t.Error("renewed before 40 % of the life")
		}
		pass(life*2/10 + 2*time.Minute)
		if n := h.requests("Renew"); n != 1 {
			t.Errorf("renewed %d times by 60 %% of the life, want 1", n)
		}
		select {
		case <-a.Rotated():
		default:
			t.Error("no signal of the renewal")
		}
		if a.Source().Certificate() == first {
			t.Error("the session still has the first certificate")
		}
		pass(10 * life)
		if s := a.Status(); !time.Now().Before(s.NotAfter) || s.Message != "" {
			t.Errorf("after ten lives: %+v", s)
		}
		// A restart goes on with what it had.
		stop()
		again, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if got, want := again.Status(), a.Status(); got != want {
			t.Errorf("after a restart %+v, before %+v", got, want)
		}
	})
}

func TestAMemberWithoutEnrolmentOnRecordIsBroughtBackByANewToken(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// It joined before enrolment keys were recorded.
		h.set(func(h *hub) { h.cut, h.record = errors.New("the hub is away"), nil })
		pass(life * 9 / 10)
		if m := a.Status().Message; !strings.Contains(m, "not renewed") || !strings.Contains(m, "the hub is away") {
			t.Errorf("during the trouble: %q", m)
		}
		pass(life)
		if m := a.Status().Message; !strings.Contains(m, "until it answers") || strings.Contains(m, "invite") {
			t.Errorf("after the end: %q, want that nobody has to do anything", m)
		}
		h.set(func(h *hub) { h.cut = nil })
		pass(2 * time.Minute)
		if m := a.Status().Message; !strings.Contains(m, "invite cluster eu-1 again") || !strings.Contains(m, cfg.TokenFile) {
			t.Errorf("after the refusal: %q, want what to do", m)
		}
		before := h.requests("Reattest")
		pass(5 * time.Hour)
		if n := h.requests("Reattest") - before; n < 4 || n > 5 {
			t.Errorf("asked %d times in five hours after a refusal, want once an hour", n)
		}
		h.set(func(h *hub) { h.refuse, h.token = nil, "wwj1.second" })
		h.write(cfg.TokenFile, "wwj1.second")
		pass(10 * time.Second)
		if s := a.Status(); s.Message != "" || !time.Now().Before(s.NotAfter) {
			t.Errorf("with a new token: %+v", s)
		}
	})
}

func TestTriesToRenewAreBounded(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.set(func(h *hub) { h.refuse = status.Error(codes.Unavailable, "the hub has no room") })
		pass(life * 6 / 10) // half life was one to five hours ago
		if m := a.Status().Message; !strings.Contains(m, "not renewed") || !strings.Contains(m, "the hub has no room") {
			t.Errorf("during the trouble: %q", m)
		}
		before := h.requests("Renew")
		pass(time.Hour)
		if tries := h.requests("Renew") - before; tries < 10 || tries > 120 {
			t.Errorf("%d tries to renew in an hour, want a bounded back-off", tries)
		}
	})
}

func TestTokenOfAnotherClusterDoesNotTakeTheDirectoryOver(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.set(func(h *hub) { h.cut = errors.New("away") })
		pass(life + time.Minute)
		h.set(func(h *hub) { h.cut, h.uid = nil, "c2" })
		h.write(cfg.TokenFile, h.token)
		said := false
		for range 90 {
			pass(time.Second)
			s := a.Status()
			said = said || strings.Contains(s.Message, "cluster/c2")
			if s.ID.Name() != "c1" {
				t.Fatalf("status %+v, want it still c1's", s)
			}
		}
		if !said {
			t.Error("nothing was said of the token's cluster")
		}
	})
}

func TestHubIsKnownByItsPinAloneBeforeJoining(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		cfg.BundleFile, cfg.Pin = "", identity.Pin(h.root)
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		defer stop()
		if err := a.Wait(t.Context()); err != nil || a.Source().Roots() == nil {
			t.Fatalf("%v, roots %v", err, a.Source().Roots())
		}

		other := h.config(t.TempDir())
		other.BundleFile, other.Pin = "", "sha256:"+strings.Repeat("0", 64)
		h.write(other.TokenFile, h.token)
		before := h.requests("Enrol")
		b, stop := start(t, other)
		defer stop()
		pass(time.Minute)
		if h.requests("Enrol") != before {
			t.Error("the token was shown to a hub that does not match the pin")
		}
		if m := b.Status().Message; !strings.Contains(m, "pin") {
			t.Errorf("message %q, want it to speak of the pin", m)
		}
	})
}

func TestAHubOfAnotherRootIsNotShownTheToken(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		stranger := h.sign(&x509.Certificate{NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true},
			nil, &must(identity.NewKey())(t).PublicKey)
		h.write(cfg.BundleFile, string(identity.EncodeCertificates(stranger)))
		h.write(cfg.TokenFile, h.token)
		_, stop := start(t, cfg)
		defer stop()
		pass(time.Minute)
		if n := h.requests("Enrol"); n != 0 {
			t.Errorf("asked %d times over an untrusted connection", n)
		}
		if _, err := os.Stat(cfg.TokenFile); err != nil {
			t.Errorf("the token is gone: %v", err)
		}
	})
}

func TestRootsOrPinAreRequired(t *testing.T) {
	if _, err := enrol.New(enrol.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("an agent without a root to trust was made")
	}
}

// must ends the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}

		return v
	}
}
