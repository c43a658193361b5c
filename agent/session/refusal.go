package session

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// ending is how a stream ended, as far as the next try depends on it.
type ending struct {
	reason     string // typed reason of the hub, or ours; empty: a broken connection
	longest    bool   // trying sooner does not help: a person has to act
	retryAfter time.Duration
}

// errors of our own end.
var (
	errReplaced   = errors.New("replaced by a stream with the new certificate")
	errSilent     = errors.New("hub is silent")
	errNotWelcome = errors.New("hub did not welcome")
	errBadFrame   = errors.New("hub sent a frame that was not offered")
)

// Reasons of our own that State shows beside the hub's.
const (
	reasonFenced      = "FENCED"
	reasonSilent      = "SILENT"
	reasonUnavailable = "UNAVAILABLE"
)

// classify reads an error that ended a stream, or the try to open one.
func classify(err error) ending {
	switch {
	case errors.Is(err, feed.ErrFenced):
		return ending{reason: reasonFenced, longest: true}
	case errors.Is(err, errSilent):
		return ending{reason: reasonSilent}
	}
	st, ok := status.FromError(err)
	if !ok {
		return ending{reason: reasonUnavailable}
	}
	for _, d := range st.Details() {
		r, ok := d.(*agentv1.Refusal)
		if !ok {
			continue
		}
		e := ending{reason: reasonWord(r.GetReason()), retryAfter: time.Duration(r.GetRetryAfterMs()) * time.Millisecond}
		e.longest = slices.Contains(forPeople(), r.GetReason())

		return e
	}

	return ending{reason: reasonUnavailable, longest: st.Code() == codes.Unimplemented}
}

// forPeople are the reasons that trying again soon does not help against.
func forPeople() []agentv1.RefusalReason {
	return []agentv1.RefusalReason{
		agentv1.RefusalReason_REFUSAL_REASON_BANNED, agentv1.RefusalReason_REFUSAL_REASON_CLONE,
		agentv1.RefusalReason_REFUSAL_REASON_COMPARE_UNSUPPORTED, agentv1.RefusalReason_REFUSAL_REASON_EPOCH_AHEAD,
	}
}

func reasonWord(r agentv1.RefusalReason) string {
	const prefix = "REFUSAL_REASON_"
	if w := r.String(); len(w) > len(prefix) {
		return w[len(prefix):]
	}

	return r.String()
}

// wait is how long to wait before the next try: full jitter, the hub's own wish if it has one, the longest interval
// where only a person can help. random is of [0, 1).
func (e ending) wait(attempt int, random float64) time.Duration {
	b := reconnect()
	switch {
	case e.longest:
		return b.Max/2 + time.Duration(random*float64(b.Max/2))
	case e.retryAfter > 0:
		after := min(e.retryAfter, b.Max)

		return after + time.Duration(random*float64(after))
	}

	return b.Next(attempt, random)
}

// text is an error in the words of the hub where it said any.
func text(err error) string {
	if st, ok := status.FromError(err); ok && err != nil {
		return fmt.Sprintf("%s: %s", st.Code(), st.Message())
	}

	return err.Error()
}
