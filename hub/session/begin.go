package session

import (
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// greeting is what of a Hello decides how the stream begins.
type greeting struct {
	Cursor   feed.Cursor // zero: none
	Count    int         // live rows on record at the agent
	MaxEpoch int64       // greatest epoch number it ever saw
}

// verdict is how a stream begins.
type verdict int

const (
	resume     verdict = iota + 1
	compare            // the two records have to be compared
	raiseEpoch         // a later epoch must be begun first, then ask again
	epochAhead         // refused: no clock of ours explains the epoch number
)

// decision is a verdict, where to resume from, and the reason in words for people.
type decision struct {
	Verdict verdict
	From    store.Revision
	Why     string
}

// maxEpochAhead is how far before the clock an epoch number, which is about seconds of wall time, is believed.
const maxEpochAhead = 24 * time.Hour

// begin decides how a stream begins. The ancestry is the hub's branch of history, its last span being the current epoch.
func begin(g greeting, ancestry []store.Span, now time.Time) decision {
	var current store.Span
	if n := len(ancestry); n > 0 {
		current = ancestry[n-1]
	}
	switch {
	case g.MaxEpoch > now.Add(maxEpochAhead).Unix():
		return decision{Verdict: epochAhead, Why: fmt.Sprintf(
			"the agent saw epoch %d, more than a day ahead of this hub's clock: set the hub's clock right, or look at what wrote that epoch", g.MaxEpoch)}
	case current.Epoch.Number < g.MaxEpoch:
		return decision{Verdict: raiseEpoch, Why: "the agent saw a later epoch"}
	case g.Cursor.IsZero() && g.Count == 0:
		return decision{Verdict: resume, Why: "the agent has recorded nothing"}
	case g.Cursor.IsZero():
		return decision{Verdict: compare, Why: fmt.Sprintf("the agent has %d rows and no cursor: part of its record was lost", g.Count)}
	}
	for _, span := range ancestry {
		if span.Epoch.ID != g.Cursor.EpochID {
			continue
		}
		if rev := store.Revision(g.Cursor.Revision); rev >= 0 && rev <= span.Last {
			return decision{Verdict: resume, From: rev, Why: "the cursor lies in this hub's history"}
		}

		return decision{Verdict: compare, Why: fmt.Sprintf(
			"the agent recorded revision %d of an epoch that ended at %d here: this hub lost writes, as after a restore", g.Cursor.Revision, span.Last)}
	}

	return decision{Verdict: compare, Why: "the agent's cursor is of a history that this hub does not know, as after a restore from a backup"}
}
