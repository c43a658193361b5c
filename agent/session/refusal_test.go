package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

func refused(t *testing.T, code codes.Code, reason agentv1.RefusalReason, after time.Duration) error {
	t.Helper()
	st, err := status.New(code, "no").WithDetails(agentv1.Refusal_builder{Reason: reason, RetryAfterMs: after.Milliseconds()}.Build())
	if err != nil {
		t.Fatal(err)
	}

	return st.Err()
}

func TestTheWaitFollowsFromHowTheStreamEnded(t *testing.T) {
	const longest = time.Minute
	for name, c := range map[string]struct {
		err      error
		reason   string
		min, max time.Duration // of the wait after the third failure
	}{
		"broken connection":     {errors.New("broken"), "UNAVAILABLE", 500 * time.Millisecond, 8 * time.Second},
		"unavailable":           {status.Error(codes.Unavailable, "x"), "UNAVAILABLE", 500 * time.Millisecond, 8 * time.Second},
		"silent":                {errSilent, "SILENT", 500 * time.Millisecond, 8 * time.Second},
		"superseded":            {refused(t, codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_SUPERSEDED, 0), "SUPERSEDED", 500 * time.Millisecond, 8 * time.Second},
		"drain":                 {refused(t, codes.Unavailable, agentv1.RefusalReason_REFUSAL_REASON_DRAIN, 2*time.Second), "DRAIN", 2 * time.Second, 4 * time.Second},
		"absurd retry-after":    {refused(t, codes.ResourceExhausted, agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED, time.Hour), "UNSPECIFIED", longest, 2 * longest},
		"comparison needed":     {refused(t, codes.Unimplemented, agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED, 0), "COMPARE_UNSUPPORTED", longest / 2, longest},
		"clone":                 {refused(t, codes.FailedPrecondition, agentv1.RefusalReason_REFUSAL_REASON_CLONE, 0), "CLONE", longest / 2, longest},
		"banned":                {refused(t, codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_BANNED, 0), "BANNED", longest / 2, longest},
		"fenced hub":            {fmt.Errorf("x: %w", feed.ErrFenced), "FENCED", longest / 2, longest},
		"no such service there": {status.Error(codes.Unimplemented, "unknown service"), "UNAVAILABLE", longest / 2, longest},
	} {
		t.Run(name, func(t *testing.T) {
			e := classify(c.err)
			if e.reason != c.reason {
				t.Errorf("reason = %s, want %s", e.reason, c.reason)
			}
			if low, high := e.wait(3, 0), e.wait(3, 0.999999); low < c.min || high > c.max || low >= high {
				t.Errorf("wait = %s to %s, want within %s to %s", low, high, c.min, c.max)
			}
		})
	}
}

func TestAcksWaitForOthersButNotForLong(t *testing.T) {
	now := time.Unix(1000, 0)
	cursor := func(rev int64) feed.Cursor { return feed.Cursor{EpochID: "e", Revision: rev} }
	var a acks
	if a.take(now) != nil {
		t.Fatal("an ack of nothing")
	}
	a.add(cursor(1), nil, 100, now)
	a.add(cursor(2), nil, 100, now.Add(ackDelay/2))
	if a.take(now.Add(ackDelay-1)) != nil {
		t.Error("acked before the delay")
	}
	if got := a.take(now.Add(ackDelay)); got.GetCursor().GetRevision() != 2 {
		t.Errorf("ack = %v, want revision 2", got)
	}
	if a.take(now.Add(time.Hour)) != nil || !a.dueAt().IsZero() {
		t.Error("acked twice")
	}
	a.add(cursor(3), nil, ackBytes, now)
	if a.take(now) == nil {
		t.Error("64 KiB did not bring the ack on")
	}
	a.add(cursor(4), []feed.Nack{{UID: "x", Code: feed.CodeInvalid}}, 1, now)
	if got := a.take(now); len(got.GetNacks()) != 1 {
		t.Error("a nack waited")
	}
	a.add(feed.Cursor{}, nil, 1, now)
	if a.take(now.Add(time.Hour)) != nil {
		t.Error("a frame whose write goes on was acked")
	}
}

func TestConfigNamesAllThatIsMissing(t *testing.T) {
	_, err := New(Config{})
	for _, want := range []string{"store", "address", "credentials", "wake", "encode"} {
		if err == nil || !strings.Contains(err.Error(), want+" is required") {
			t.Errorf("err = %v, want %s named", err, want)
		}
	}
}
