package session

import (
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

func TestBeginDecidesEachCase(t *testing.T) {
	now := time.Unix(10_000, 0)
	span := func(number int64, id string, first, last store.Revision) store.Span {
		return store.Span{Epoch: store.Epoch{Number: number, ID: id}, First: first, Last: last}
	}
	// Epoch c wrote nothing yet, b wrote 11 to 20.
	ancestry := []store.Span{span(5, "a", 1, 10), span(6, "b", 11, 20), span(7, "c", 21, 20)}
	at := func(id string, rev int64) feed.Cursor { return feed.Cursor{EpochID: id, Revision: rev} }
	for name, c := range map[string]struct {
		greeting greeting
		ancestry []store.Span
		want     verdict
		from     store.Revision
	}{
		"nothing recorded":                             {greeting{}, ancestry, resume, 0},
		"nothing recorded, known epoch":                {greeting{MaxEpoch: 7}, ancestry, resume, 0},
		"rows without cursor":                          {greeting{Count: 3}, ancestry, compare, 0},
		"cursor at the head":                           {greeting{Cursor: at("b", 20), Count: 9, MaxEpoch: 6}, ancestry, resume, 20},
		"cursor in the current epoch, nothing written": {greeting{Cursor: at("c", 20), Count: 9, MaxEpoch: 7}, ancestry, resume, 20},
		"cursor of an old epoch":                       {greeting{Cursor: at("a", 4), Count: 1, MaxEpoch: 5}, ancestry, resume, 4},
		"cursor at the end of an old epoch":            {greeting{Cursor: at("a", 10), MaxEpoch: 5}, ancestry, resume, 10},
		"cursor at zero":                               {greeting{Cursor: at("a", 0)}, ancestry, resume, 0},
		"cursor before an epoch's first revision":      {greeting{Cursor: at("b", 3), MaxEpoch: 6}, ancestry, resume, 3},
		"cursor beyond the end of its epoch":           {greeting{Cursor: at("a", 11), MaxEpoch: 5}, ancestry, compare, 0},
		"cursor beyond the head":                       {greeting{Cursor: at("c", 21), MaxEpoch: 7}, ancestry, compare, 0},
		"negative cursor":                              {greeting{Cursor: at("a", -1)}, ancestry, compare, 0},
		"cursor of an unknown history":                 {greeting{Cursor: at("x", 4), MaxEpoch: 5}, ancestry, compare, 0},
		"cursor of an unknown history, no rows":        {greeting{Cursor: at("x", 4)}, ancestry, compare, 0},
		"a later epoch was seen":                       {greeting{Cursor: at("x", 4), MaxEpoch: 8}, ancestry, raiseEpoch, 0},
		"a later epoch was seen, nothing recorded":     {greeting{MaxEpoch: 8}, ancestry, raiseEpoch, 0},
		"an epoch a day ahead of the clock":            {greeting{MaxEpoch: 10_000 + 24*3600}, ancestry, raiseEpoch, 0},
		"an epoch more than a day ahead":               {greeting{MaxEpoch: 10_001 + 24*3600}, ancestry, epochAhead, 0},
		"a hub without history":                        {greeting{Cursor: at("a", 1)}, nil, compare, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := begin(c.greeting, c.ancestry, now)
			if got.Verdict != c.want || got.From != c.from || got.Why == "" {
				t.Errorf("begin = %+v, want verdict %d from %d", got, c.want, c.from)
			}
		})
	}
}
