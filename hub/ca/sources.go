package ca

import (
	"sync"
	"time"
)

// Limits on strangers that ask to be let in again. A thousand agents behind one address are back within two minutes.
const (
	sourceEvery = time.Second / 10 // between two requests of one source, in the long run
	sourceBurst = 100              // requests of one source at once
	maxSources  = 4096             // that are told apart
)

// sources bounds how often each address may ask for what costs a signature. Safe for concurrent use.
type sources struct {
	mu   sync.Mutex           // guards next
	next map[string]time.Time // when all that was taken so far is paid for
}

// allow says whether a source may ask now. Beyond maxSources busy ones, further ones share one allowance.
func (s *sources) allow(source string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.next[source]; !known && len(s.next) >= maxSources {
		for k, paid := range s.next {
			if !paid.After(now) {
				delete(s.next, k)
			}
		}
		if len(s.next) >= maxSources {
			source = ""
		}
	}
	paid := s.next[source]
	if paid.Before(now) {
		paid = now
	}
	if paid.Sub(now) >= sourceBurst*sourceEvery {
		return false
	}
	s.next[source] = paid.Add(sourceEvery)

	return true
}
