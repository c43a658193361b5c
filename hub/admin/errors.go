package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

// Kind is what sort of refusal an error is.
type Kind int

// The kinds. Fault is everything that is not the caller's doing.
const (
	Fault    Kind = iota
	Invalid       // the request is wrong, and will be the next time
	NotFound      // what it names does not exist
	Changed       // somebody else changed it since the caller looked
	State         // it is in a state that does not allow this
)

// Refusal is an error as the caller gets it. It is an error itself.
type Refusal struct {
	Kind   Kind
	Text   string        // one sentence, with what to do
	Faults []flink.Fault // Invalid only: every fault of the manifest
}

// Error implements error.
func (r Refusal) Error() string { return r.Text }

// wireError is the one place where an error becomes a Connect error.
func (s *service) wireError(err error) *connect.Error {
	if ready, ok := errors.AsType[*connect.Error](err); ok {
		return ready
	}
	switch {
	case errors.Is(err, ErrDenied):
		return connect.NewError(connect.CodePermissionDenied, err.Error())
	case errors.Is(err, store.ErrUnknown):
		return connect.NewError(connect.CodeUnknown, "the write may or may not have happened: look again before you repeat it")
	case errors.Is(err, store.ErrNoSpace):
		return connect.NewError(connect.CodeResourceExhausted, err.Error())
	case errors.Is(err, store.ErrTooLarge):
		return connect.NewError(connect.CodeInvalidArgument, err.Error())
	case errors.Is(err, store.ErrClosed):
		return connect.NewError(connect.CodeUnavailable, "the hub is going down: ask again")
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "the deadline passed before the hub answered")
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, "the call was cancelled")
	}
	r, ok := errors.AsType[Refusal](err)
	if !ok {
		r = s.cfg.Explain(err)
	}
	switch r.Kind {
	case Invalid:
		return invalid(r)
	case NotFound:
		return connect.NewError(connect.CodeNotFound, r.Text)
	case Changed:
		return connect.NewError(connect.CodeAborted, r.Text)
	case State:
		return connect.NewError(connect.CodeFailedPrecondition, r.Text)
	default:
		return connect.NewError(connect.CodeInternal, "a fault of the hub; its log says more")
	}
}

func invalid(r Refusal) *connect.Error {
	e := connect.NewError(connect.CodeInvalidArgument, r.Text)
	if len(r.Faults) == 0 {
		return e
	}
	fields := make([]*adminv1.BadField, len(r.Faults))
	for i, f := range r.Faults {
		fields[i] = adminv1.BadField_builder{Field: f.Field, Value: f.Value, Remedy: f.Remedy}.Build()
	}
	detail, err := connectproto.NewErrorDetail(adminv1.BadFields_builder{Fields: fields}.Build())
	if err != nil { // the text says the same, less readably
		return e
	}

	return e.WithDetail(detail)
}

// logRefusal writes down who was refused, and what went wrong at the hub. What a caller got wrong is for the caller: it
// is counted, and not logged, since it may quote what was sent.
func (s *service) logRefusal(ctx context.Context, method string, caller identity.ID, wire *connect.Error, cause error) {
	var level slog.Level
	switch wire.Code() {
	case connect.CodeInternal, connect.CodeUnknown:
		level = slog.LevelError
	case connect.CodePermissionDenied, connect.CodeResourceExhausted:
		level = slog.LevelWarn
	case connect.CodeAborted, connect.CodeFailedPrecondition, connect.CodeUnavailable:
		level = slog.LevelInfo
	default:
		return
	}
	s.cfg.Logger.Log(ctx, level, "call refused", telemetry.KeyMethod, method, telemetry.KeyPeer, caller.String(),
		telemetry.KeyCode, wire.Code().String(), telemetry.Err(cause))
}

func notFound(what, name string, known []string) error {
	text := fmt.Sprintf("no %s %q", what, name)
	if near := flink.Near(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}

	return Refusal{Kind: NotFound, Text: text}
}
