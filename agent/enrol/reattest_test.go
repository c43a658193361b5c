package enrol_test

import (
	"crypto/ecdsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// errAway is a hub that nobody reaches.
var errAway = errors.New("the hub is away")

// joinedFor runs an agent that has joined, then lets it be without the hub for a time.
func joinedFor(t *testing.T, h *hub, cfg enrol.Config, absence time.Duration) (*enrol.Agent, func()) {
	t.Helper()
	h.write(cfg.TokenFile, h.token)
	a, stop := start(t, cfg)
	if err := a.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	<-a.Rotated()
	h.set(func(h *hub) { h.cut = errAway })
	pass(absence)

	return a, stop
}

func TestAfterAnAbsenceTheAgentIsBackByItself(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		cfg.Site = func() string { return "site-1" }
		a, stop := joinedFor(t, h, cfg, 3*life)
		before := a.Status()
		if m := before.Message; !strings.Contains(m, "certificate ended") || !strings.Contains(m, "the hub is away") || strings.Contains(m, "invite") {
			t.Errorf("during the absence: %q, want that it asks by itself", m)
		}
		old := a.Source().Certificate()
		h.set(func(h *hub) { h.cut = nil })
		pass(time.Minute + 5*time.Second)
		s := a.Status()
		if s.Message != "" || !time.Now().Before(s.NotAfter) || s.ID != before.ID || s.Cluster != "eu-1" {
			t.Errorf("after the absence: %+v", s)
		}
		select {
		case <-a.Rotated():
		default:
			t.Error("the session was not told")
		}
		key, _ := a.Source().Certificate().PrivateKey.(*ecdsa.PrivateKey)
		if key.Equal(old.PrivateKey) {
			t.Error("the new certificate is of the old key")
		}
		h.set(func(h *hub) {
			if !slices.Contains(h.sites, "site-1") || slices.Contains(h.sites, "") {
				t.Errorf("sites shown: %v", h.sites)
			}
		})
		// It goes on as any member, also over a restart.
		pass(2 * life)
		stop()
		again, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if got := again.Status(); got.Message != "" || got != a.Status() {
			t.Errorf("later: %+v, %+v", got, a.Status())
		}
		if n := h.requests("Enrol"); n != 1 {
			t.Errorf("%d tokens were used, want 1", n)
		}
	})
}

func TestAnAgentThatStartsAfterTheEndComesBackToo(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		_, stop := joinedFor(t, h, cfg, time.Hour)
		stop()
		pass(30 * life)
		h.set(func(h *hub) { h.cut = nil })
		a, stop := start(t, cfg)
		defer stop()
		pass(5 * time.Second)
		if s := a.Status(); s.Message != "" || !time.Now().Before(s.NotAfter) {
			t.Errorf("status %+v", s)
		}
	})
}

func TestALostAnswerToAReattestIsAskedForAgain(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		a, stop := joinedFor(t, h, h.config(t.TempDir()), life+10*time.Minute)
		defer stop()
		h.set(func(h *hub) { h.cut, h.lost = nil, 2 })
		pass(5 * time.Minute)
		if s := a.Status(); s.Message != "" || !time.Now().Before(s.NotAfter) {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAHubOfBeforeReattestSaysWhatItAlwaysSaid(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		a, stop := joinedFor(t, h, cfg, life+10*time.Minute)
		defer stop()
		h.set(func(h *hub) { h.cut, h.refuse = nil, status.Error(codes.Unimplemented, "unknown method Reattest") })
		pass(2 * time.Minute)
		if m := a.Status().Message; !strings.Contains(m, "invite cluster eu-1 again") || !strings.Contains(m, cfg.TokenFile) {
			t.Errorf("message %q", m)
		}
		h.set(func(h *hub) { h.refuse = nil }) // it is upgraded
		pass(time.Hour + time.Minute)
		if m := a.Status().Message; m != "" {
			t.Errorf("after the hub's upgrade: %q", m)
		}
	})
}

func TestTheCertificatesKeyAloneBringsNobodyBack(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		_, stop := joinedFor(t, h, cfg, time.Hour)
		stop()
		thief := h.config(t.TempDir())
		if err := os.MkdirAll(thief.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"agent.key", "svid.json"} {
			h.write(filepath.Join(thief.Dir, name), string(must(os.ReadFile(filepath.Join(cfg.Dir, name)))(t)))
		}
		pass(life)
		h.set(func(h *hub) { h.cut = nil })
		a, stop := start(t, thief)
		defer stop()
		pass(time.Minute)
		if s := a.Status(); time.Now().Before(s.NotAfter) || !strings.Contains(s.Message, "does not let this agent back in") {
			t.Errorf("with stolen certificate and key: %+v", s)
		}
	})
}

func TestAHubThatIsNotTheOneIsShownNoProof(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		_, stop := joinedFor(t, h, cfg, time.Hour)
		stop()
		pass(2 * life)
		inHub := h.requests("Reattest")
		h.set(func(h *hub) { h.cut = nil })
		// The agent knows another root: the hub's has changed, or somebody sits in between.
		svid := filepath.Join(cfg.Dir, "svid.json")
		other := must(identity.NewKey())(t)
		root := h.selfSigned(other)
		text := string(must(os.ReadFile(svid))(t))
		mine := jsonText(string(identity.EncodeCertificates(h.root)))
		if !strings.Contains(text, mine) {
			t.Fatal("the root is not where it was")
		}
		h.write(svid, strings.Replace(text, mine, jsonText(string(identity.EncodeCertificates(root))), 1))
		h.write(cfg.BundleFile, string(identity.EncodeCertificates(root)))
		a, stop := start(t, cfg)
		defer stop()
		pass(10 * time.Minute)
		if n := h.requests("Reattest"); n != inHub {
			t.Errorf("%d proofs were shown to a hub that is not trusted", n-inHub)
		}
		if m := a.Status().Message; !strings.Contains(m, "not trusted") {
			t.Errorf("message %q, want why", m)
		}
		// The file of trusted roots is the customer's way to follow a change of the hub's root: no token, no restart.
		h.write(cfg.BundleFile, string(identity.EncodeCertificates(root, h.root)))
		pass(2 * time.Minute)
		if s := a.Status(); s.Message != "" || !time.Now().Before(s.NotAfter) {
			t.Errorf("with the new root in the file: %+v", s)
		}
	})
}

func jsonText(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }

func TestAClockThatRunsAheadIsNamed(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		a, stop := joinedFor(t, h, h.config(t.TempDir()), life+10*time.Minute)
		defer stop()
		h.set(func(h *hub) { h.cut, h.life = nil, -time.Minute }) // by the hub's clock it is longer
		pass(10 * time.Minute)
		if m := a.Status().Message; !strings.Contains(m, "clock") {
			t.Errorf("message %q, want it to speak of the clock", m)
		}
		if n := h.requests("Reattest"); n < 5 || n > 40 {
			t.Errorf("asked %d times in ten minutes, want a bounded back-off", n)
		}
		h.set(func(h *hub) { h.life = life })
		pass(2 * time.Minute)
		if s := a.Status(); s.Message != "" {
			t.Errorf("with the clock set: %+v", s)
		}
	})
}

func TestAnIdentityOfBeforeKeysChangedIsReadAndOneOfNowByAnOlderAgent(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		h.write(cfg.TokenFile, h.token)
		a, stop := start(t, cfg)
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(life) // one renewal at least
		stop()
		// An older agent looks for the key in its own file.
		key := must(identity.DecodeKey(must(os.ReadFile(filepath.Join(cfg.Dir, "agent.key")))(t)))(t)
		if !key.Equal(a.Source().Certificate().PrivateKey) {
			t.Error("agent.key is not the key of the certificate")
		}
		// And wrote the SVID without it.
		svid := filepath.Join(cfg.Dir, "svid.json")
		text := string(must(os.ReadFile(svid))(t))
		from := strings.Index(text, `"key"`)
		to := from + strings.Index(text[from:], "\n")
		h.write(svid, text[:from]+text[to:])
		if err := os.Remove(filepath.Join(cfg.Dir, "enrolment.key")); err != nil {
			t.Fatal(err)
		}
		again, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if got, want := again.Status(), a.Status(); got != want {
			t.Errorf("read as %+v, want %+v", got, want)
		}
	})
}
