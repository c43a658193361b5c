package lease

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A replica that waits loses races, and meets an API server that is away: the former is a detail, the latter is said once.
func TestALostRaceIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		one := &way{to: m}
		if err := Run(t.Context(), one.config("one"), func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		var details, words bytes.Buffer // each written by one goroutine at a time
		for _, state := range []string{"raced", "cut"} {
			details.Reset()
			words.Reset()
			two := &way{to: m, state: state}
			c := two.config("two")
			c.Logger = slog.New(slog.NewMultiHandler(
				slog.NewTextHandler(&details, &slog.HandlerOptions{Level: slog.LevelDebug}),
				slog.NewTextHandler(&words, &slog.HandlerOptions{Level: slog.LevelInfo}),
			))
			done := make(chan error, 1)
			go func() { done <- Run(t.Context(), c, func(context.Context) error { return nil }) }()
			time.Sleep(5 * RetryPeriod)
			synctest.Wait()
			said := words.String()
			if n := strings.Count(said, "cannot be read or written"); state == "cut" && n != 1 || state == "raced" && said != "" {
				t.Errorf("%s: it says %d times that the lease is out of reach:\n%s", state, n, said)
			}
			if strings.Contains(said, "client-go") {
				t.Errorf("%s: the elector's own words are more than details:\n%s", state, said)
			}
			if !strings.Contains(details.String(), "client-go") || state == "raced" && !strings.Contains(details.String(), "object has been modified") && !strings.Contains(details.String(), "Failed to update lease") {
				t.Errorf("%s: the details do not tell what happens:\n%s", state, details.String())
			}
			two.set("")
			if err := <-done; err != nil {
				t.Errorf("%s: %v", state, err)
			}
			if !strings.Contains(words.String(), "holds the lease") {
				t.Errorf("%s: it does not say that it acts:\n%s", state, words.String())
			}
		}
	})
}
