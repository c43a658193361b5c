package run_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/internal/run"
)

func TestBackoffCeilingDoublesUpToMax(t *testing.T) {
	b := run.Backoff{Min: time.Second, Max: 10 * time.Second}
	for attempt, ceiling := range map[int]int64{-1: 2, 0: 2, 1: 4, 2: 8, 3: 10, 40: 10, 1000: 10} {
		if got := b.Next(attempt, 0); got != b.Min {
			t.Errorf("attempt %d, random 0: %s, want %s", attempt, got, b.Min)
		}
		want := b.Min + (time.Duration(ceiling)*time.Second-b.Min)/2
		if got := b.Next(attempt, 0.5); got != want {
			t.Errorf("attempt %d, random 0.5: %s, want %s", attempt, got, want)
		}
	}
}

func TestBackoffStaysWithinItsBoundsAndGrowsWithAttempts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "min"))
		hi := lo + time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "more"))
		b := run.Backoff{Min: lo, Max: hi}
		random := rapid.Float64Range(0, 0.9999).Draw(t, "random")
		attempt := rapid.IntRange(0, 1<<40).Draw(t, "attempt")
		got := b.Next(attempt, random)
		if got < lo || got > hi {
			t.Fatalf("%s is not within %s and %s", got, lo, hi)
		}
		if next := b.Next(attempt+1, random); next < got {
			t.Fatalf("attempt %d waits %s, the next only %s", attempt, got, next)
		}
	})
}
