package enrol_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// What put the token there may still look for it while a waiting agent has used it already.
func TestAUsedTokenStaysForAWhileAndIsDestroyedThen(t *testing.T) {
	inHub(t, func(t *testing.T, h *hub) {
		cfg := h.config(t.TempDir())
		cfg.TokenStays = 30 * time.Second
		a, stop := start(t, cfg)
		defer stop()
		pass(time.Minute) // it waits for a token
		h.write(cfg.TokenFile, h.token)
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		pass(20 * time.Second)
		if _, err := os.Stat(cfg.TokenFile); err != nil {
			t.Errorf("token file: %v, want it there 20 s after it was used", err)
		}
		pass(20 * time.Second)
		if _, err := os.Stat(cfg.TokenFile); !os.IsNotExist(err) {
			t.Errorf("token file: %v, want it gone 40 s after it was used", err)
		}
	})
}
