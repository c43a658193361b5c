package enrol

import (
	"fmt"
	"time"
)

// duty is what an agent has to do next for its membership.
type duty string

const (
	rest     duty = "rest"     // all is well, or nothing can be done before a person does something
	joining  duty = "join"     // trade the token
	renewing duty = "renew"    // ask on the strength of the SVID
	proving  duty = "reattest" // ask on the strength of the enrolment key
)

// again is after how long a refusal to reattest is put to the test once more: the hub may have been another one, such as
// one restored from a backup that is older than this cluster.
const again = time.Hour

// situation is all that the next duty depends on.
type situation struct {
	member   bool // has, or had, an SVID
	notAfter time.Time
	renewAt  time.Time
	token    bool      // there is one that was not refused
	refused  time.Time // when the hub last refused to reattest; zero: it did not
}

// ended tells that there was an SVID, and is none any more.
func (s situation) ended(now time.Time) bool { return s.member && !now.Before(s.notAfter) }

// due decides. A token is a person's word, and comes before what the agent can do by itself.
func due(s situation, now time.Time) duty {
	switch {
	case s.member && now.Before(s.notAfter):
		if now.Before(s.renewAt) {
			return rest
		}

		return renewing
	case s.token:
		return joining
	case s.member && (s.refused.IsZero() || now.Sub(s.refused) >= again):
		return proving
	default:
		return rest
	}
}

// inviteAgain is what a person has to do when nothing else helps.
func inviteAgain(s *svid, why string, token Token) string {
	return fmt.Sprintf("certificate ended %s and the hub does not let this agent back in (%s): "+
		"invite cluster %s again and put the new token into %s; its jobs run on",
		s.notAfter().UTC().Format(time.RFC3339), why, s.cluster, token)
}
