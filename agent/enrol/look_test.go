package enrol_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/enrol"
)

func TestALookSaysWhatIsKeptAndMakesNothing(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		if k := must(enrol.Look(cfg))(t); k != (enrol.Kept{}) {
			t.Errorf("of nothing: %+v", k)
		}
		if made := must(filepath.Glob(cfg.Dir))(t); len(made) > 0 {
			t.Errorf("it made %v", made)
		}
		h.write(cfg.TokenFile, h.token)
		if k := must(enrol.Look(cfg))(t); k != (enrol.Kept{Token: true}) {
			t.Errorf("with a token: %+v", k)
		}
		a, stop := start(t, cfg)
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		stop()
		k := must(enrol.Look(cfg))(t)
		if s := a.Status(); k.Cluster != "eu-1" || k.ID != s.ID || !k.NotAfter.Equal(s.NotAfter) || !k.Returns || k.Token {
			t.Errorf("of a member: %+v, want %+v", k, s)
		}
		h.write(filepath.Join(cfg.Dir, "svid.json"), "{")
		if _, err := enrol.Look(cfg); err == nil {
			t.Error("an identity that is broken is none")
		}
	})
}
