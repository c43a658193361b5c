package ca

import (
	"fmt"
	"testing"
	"time"
)

func TestEachSourceHasItsOwnAllowance(t *testing.T) {
	s := sources{next: map[string]time.Time{}}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	take := func(source string, n int) (got int) {
		for range n {
			if s.allow(source, now) {
				got++
			}
		}

		return got
	}
	if got := take("a", 500); got != sourceBurst {
		t.Errorf("%d at once, want %d", got, sourceBurst)
	}
	if got := take("b", 1); got != 1 {
		t.Error("one source kept another out")
	}
	now = now.Add(time.Second)
	if got := take("a", 500); got != 10 {
		t.Errorf("%d after a second, want 10", got)
	}
	now = now.Add(time.Hour)
	if got := take("a", 500); got != sourceBurst {
		t.Errorf("%d after an hour, want %d", got, sourceBurst)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	s := sources{next: map[string]time.Time{}}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	allowed := 0
	for i := range 3 * maxSources {
		if s.allow(fmt.Sprint(i), now) {
			allowed++
		}
	}
	if len(s.next) > maxSources+1 || allowed != maxSources+sourceBurst {
		t.Errorf("%d sources kept, %d let through; want %d and one for the rest, %d", len(s.next), allowed, maxSources, maxSources+sourceBurst)
	}
	now = now.Add(time.Minute)
	if !s.allow("new", now) || len(s.next) > 2 {
		t.Errorf("%d sources kept that ask no more", len(s.next))
	}
}
