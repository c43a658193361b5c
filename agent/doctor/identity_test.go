package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheDoctorSaysWhetherTheAgentHasJoined(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	member := Membership{Cluster: "eu-1", ID: "spiffe://example.org/cluster/c1", NotAfter: now.Add(time.Hour), Returns: true}
	with := func(change func(*Membership)) Membership { m := member; change(&m); return m }
	ended := func(m *Membership) { m.NotAfter = now }
	for name, tc := range map[string]struct {
		kept Membership
		err  error
		says string
		want Level
		text string // in the finding
		cure string // in the remedy
	}{
		"a member":                      {member, nil, "", OK, "joined as eu-1 (spiffe://example.org/cluster/c1), certificate until 2026-11-24T13:00:00Z", ""},
		"a member that cannot renew":    {member, nil, "certificate is not renewed", Warn, "the agent says: certificate is not renewed", ""},
		"ended, with a key":             {with(ended), nil, "", Warn, "certificate ended 2026-11-24T12:00:00Z: it comes back by its enrolment key", ""},
		"ended, without a key":          {with(func(m *Membership) { ended(m); m.Returns = false }), nil, "", Fail, "no enrolment key", "waterwheel cluster invite eu-1, and put the token into T"},
		"ended, refused by the hub":     {with(ended), nil, "the hub does not let this agent back in", Fail, "does not let this agent back in", "waterwheel cluster invite eu-1"},
		"ended, with a new token":       {with(func(m *Membership) { ended(m); m.Token = true }), nil, "", Warn, "there is a join token", ""},
		"never joined, no token":        {Membership{}, nil, "", Fail, "not joined, and there is no join token", "waterwheel cluster invite NAME, and put the token into T"},
		"never joined, a token":         {Membership{Token: true, Returns: true}, nil, "", Warn, "not joined; there is a join token", "waterwheel cluster invite NAME"},
		"never joined, a refused token": {Membership{Token: true}, nil, "join token refused: it was used", Fail, "join token refused: it was used", "waterwheel cluster invite NAME"},
		"nobody knows":                  {Membership{}, errors.New("no rights"), "", Fail, "cannot be read: no rights", "invite"},
	} {
		t.Run(name, func(t *testing.T) {
			found := Run(t.Context(), []Check{IdentityCheck(Identity{
				Kept:    func(context.Context) (Membership, error) { return tc.kept, tc.err },
				Running: func(context.Context) string { return tc.says }, Token: "T", Now: func() time.Time { return now },
			})})
			if len(found) != 1 {
				t.Fatalf("%d findings", len(found))
			}
			f := found[0]
			if f.Level != tc.want || f.What != "identity" || !strings.Contains(f.Finding, tc.text) || !strings.Contains(f.Remedy, tc.cure) {
				t.Errorf("%+v", f)
			}
			if f.Level == Fail && f.Remedy == "" {
				t.Error("there is no remedy")
			}
		})
	}
}
