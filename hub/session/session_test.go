package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// A ban that comes after a greeting was checked, and before the stream waits for changes, wakes nobody.
func TestABanSinceTheGreetingEndsTheStreamAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Init: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}()
		s := &Server{cfg: Config{Store: st, Banned: func(Peer) bool { return true }}}
		s.draining, s.drain = context.WithCancel(t.Context())
		defer s.drain()
		began := time.Now()
		err = (&session{srv: s, peer: Peer{ClusterUID: "c"}, ctx: t.Context(), heard: began}).watch()
		if r, ok := errors.AsType[*refusal](err); !ok || r.reason != agentv1.RefusalReason_REFUSAL_REASON_BANNED {
			t.Errorf("ended with %v, want the ban", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the ban took %s", took)
		}
	})
}
