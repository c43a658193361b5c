package session

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// refusal is why the hub ends a stream, with its typed detail. It is an error.
type refusal struct {
	code   codes.Code
	reason agentv1.RefusalReason
	after  time.Duration // retry-after; 0: the usual back-off
	text   string
}

// Error is the refusal for the hub's log.
func (r *refusal) Error() string { return r.code.String() + ": " + r.text }

// GRPCStatus is the refusal on the wire: gRPC looks for this method.
func (r *refusal) GRPCStatus() *status.Status {
	st := status.New(r.code, r.text)
	if r.reason == agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED && r.after == 0 {
		return st
	}
	detailed, err := st.WithDetails(agentv1.Refusal_builder{Reason: r.reason, RetryAfterMs: r.after.Milliseconds()}.Build())
	if err != nil {
		return st
	}

	return detailed
}

func refuse(code codes.Code, reason agentv1.RefusalReason, format string, args ...any) *refusal {
	return &refusal{code: code, reason: reason, text: fmt.Sprintf(format, args...)}
}

func badFrame(format string, args ...any) *refusal {
	return refuse(codes.InvalidArgument, agentv1.RefusalReason_REFUSAL_REASON_BAD_FRAME, format, args...)
}

func superseded() *refusal {
	return refuse(codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_SUPERSEDED, "a newer session of this cluster took its place")
}

func banned() *refusal {
	return refuse(codes.PermissionDenied, agentv1.RefusalReason_REFUSAL_REASON_BANNED, "this cluster, or its certificate, may no longer speak to this hub")
}

func expired() *refusal {
	return refuse(codes.Unauthenticated, agentv1.RefusalReason_REFUSAL_REASON_EXPIRED, "the certificate of this stream has ended")
}

func clone(format string, args ...any) *refusal {
	return refuse(codes.FailedPrecondition, agentv1.RefusalReason_REFUSAL_REASON_CLONE, format, args...)
}

func draining() *refusal {
	r := refuse(codes.Unavailable, agentv1.RefusalReason_REFUSAL_REASON_DRAIN, "this hub is about to restart")
	r.after = drainRetry

	return r
}

// unavailable is for trouble of our own: the store did not take something.
func unavailable(what string, err error) *refusal {
	r := refuse(codes.Unavailable, agentv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED, "%s: %v", what, err)
	r.after = unavailableRetry

	return r
}
