package doctor

import (
	"context"
	"fmt"
	"time"
)

const whatIdentity = "identity"

// Identity is the agent's own membership of the fleet. Kept is required.
type Identity struct {
	Kept func(context.Context) (Membership, error)
	// Running is what an agent that runs here says is wrong with its membership; "" if all is well or none answers. nil: none does.
	Running func(context.Context) string
	Token   string           // where a join token is put, for people
	Now     func() time.Time // nil: the clock
}

// Membership is what an agent keeps of it.
type Membership struct {
	Cluster, ID string    // "": it never joined
	NotAfter    time.Time // end of its certificate
	Returns     bool      // it has an enrolment key
	Token       bool      // a join token is there
}

// IdentityCheck looks whether the agent has joined, and how long its certificate lasts.
func IdentityCheck(i Identity) Check {
	if i.Running == nil {
		i.Running = func(context.Context) string { return "" }
	}
	if i.Now == nil {
		i.Now = time.Now
	}

	return Check{What: whatIdentity, Look: func(ctx context.Context) []Finding {
		m, err := i.Kept(ctx)
		if err != nil {
			return []Finding{{Fail, whatIdentity, "cannot be read: " + err.Error(), "mend what keeps it, or empty it and invite this cluster again"}}
		}

		return []Finding{i.judge(m, i.Running(ctx))}
	}}
}

// judge says what is kept is worth. says is the word of the agent that runs here.
func (i Identity) judge(m Membership, says string) Finding {
	if m.ID == "" {
		return i.stranger(m, says)
	}
	invite := fmt.Sprintf("waterwheel cluster invite %s, and put the token into %s", m.Cluster, i.Token)
	until := m.NotAfter.UTC().Format(time.RFC3339)
	who := fmt.Sprintf("joined as %s (%s)", m.Cluster, m.ID)
	if i.Now().Before(m.NotAfter) {
		if says != "" {
			return Finding{Warn, whatIdentity, fmt.Sprintf("%s, certificate until %s; the agent says: %s", who, until, says), ""}
		}

		return Finding{OK, whatIdentity, fmt.Sprintf("%s, certificate until %s", who, until), ""}
	}
	who += ", certificate ended " + until
	switch {
	case says != "":
		return Finding{Fail, whatIdentity, fmt.Sprintf("%s; the agent says: %s", who, says), "mend the way to the hub; if the hub refuses for good, " + invite}
	case m.Token:
		return Finding{Warn, whatIdentity, who + "; there is a join token, which the agent trades when it runs", ""}
	case !m.Returns:
		return Finding{Fail, whatIdentity, who + ", and there is no enrolment key to come back by", invite}
	}

	return Finding{Warn, whatIdentity, who + ": it comes back by its enrolment key as soon as it runs and reaches the hub", ""}
}

// stranger says what is missing to join.
func (i Identity) stranger(m Membership, says string) Finding {
	invite := "waterwheel cluster invite NAME, and put the token into " + i.Token
	switch {
	case !m.Token:
		return Finding{Fail, whatIdentity, "not joined, and there is no join token", invite}
	case says != "":
		return Finding{Fail, whatIdentity, "not joined, though there is a join token; the agent says: " + says, "mend what it says; if the token was refused, " + invite}
	}

	return Finding{Warn, whatIdentity, "not joined; there is a join token, which the agent trades when it runs", "if it stays so, see the agent's log; if the token was refused, " + invite}
}
