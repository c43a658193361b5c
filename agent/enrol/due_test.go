package enrol

import (
	"testing"
	"time"
)

func TestWhatIsDue(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	valid := situation{member: true, notAfter: now.Add(time.Hour), renewAt: now.Add(time.Minute)}
	half := situation{member: true, notAfter: now.Add(time.Hour), renewAt: now}
	ended := situation{member: true, notAfter: now, renewAt: now.Add(-time.Hour)}
	with := func(s situation, change func(*situation)) situation { change(&s); return s }
	token := func(s *situation) { s.token = true }
	for name, tc := range map[string]struct {
		at   situation
		want duty
	}{
		"nobody yet, no token":              {situation{}, rest},
		"nobody yet, a token":               {with(situation{}, token), joining},
		"a member in time":                  {valid, rest},
		"a member in time, with a token":    {with(valid, token), rest},
		"half of the life is over":          {half, renewing},
		"the end, to the moment":            {ended, proving},
		"the end, and a person's token":     {with(ended, token), joining},
		"refused a moment ago":              {with(ended, func(s *situation) { s.refused = now.Add(-time.Minute) }), rest},
		"refused, and a token":              {with(ended, func(s *situation) { s.refused, s.token = now, true }), joining},
		"refused an hour ago":               {with(ended, func(s *situation) { s.refused = now.Add(-again) }), proving},
		"refused in an earlier absence":     {with(half, func(s *situation) { s.refused = now.Add(-time.Minute) }), renewing},
		"nobody yet is not let in by a key": {situation{refused: now.Add(-2 * again)}, rest},
	} {
		if got := due(tc.at, now); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
