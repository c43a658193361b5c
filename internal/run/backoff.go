package run

import "time"

// Backoff is exponential with full jitter. Min and Max must be positive, Min ≤ Max.
type Backoff struct {
	Min time.Duration // no wait is shorter
	Max time.Duration // no wait is longer
}

// Next is how long to wait before a try, given how many failed before it in a row (0 for the first wait) and a random
// number of [0, 1): evenly spread between Min and the attempt's ceiling, which doubles from twice Min up to Max.
func (b Backoff) Next(attempt int, random float64) time.Duration {
	ceiling := b.Max
	// Beyond 2⁶² the shift would overflow; any Max is reached long before.
	if shift := max(attempt, 0) + 1; shift < 62 && b.Min <= b.Max>>shift {
		ceiling = b.Min << shift
	}

	return b.Min + time.Duration(random*float64(ceiling-b.Min))
}
