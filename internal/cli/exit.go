package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/manifest"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

// The exit codes, as documented in docs/cli.md.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2 // also an invalid manifest
	ExitNotFound    = 3
	ExitTimeout     = 4
	ExitConflict    = 5
	ExitUnreachable = 6
	ExitInterrupted = 130
)

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	text string   // one line; empty when lines say it all
	bare []string // lines without "error: " before them: faults of manifests
	err  error    // what is behind it, if anything
}

func (e *exitError) Error() string { return strings.Join(append(e.bare, e.text), "\n") }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{code: ExitUsage, text: fmt.Sprintf(format, args...)}
}

func exitf(code int, format string, args ...any) error {
	return &exitError{code: code, text: fmt.Sprintf(format, args...)}
}

// report writes an error for people and returns its exit code.
func report(w io.Writer, err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, context.Canceled) && !isExit(err):
		return ExitInterrupted
	}
	if faults, ok := errors.AsType[manifest.Faults](err); ok {
		fmt.Fprintln(w, faults.Error())
		return ExitUsage
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		e = &exitError{code: ExitError, text: err.Error()}
	}
	for _, line := range e.bare {
		fmt.Fprintln(w, line)
	}
	if e.text != "" {
		fmt.Fprintln(w, "error: "+oneLine(e.text))
	}
	return e.code
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exitError](err)
	return ok
}

// oneLine is a text for people on one line. Much of it was written by agents and jobs in somebody else's cluster: what
// would command the terminal, or turn the line around, is left out.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}), " ")
}

// explain turns an error of a call into one that says what to do.
func (h *hub) explain(ctx context.Context, err error) error {
	if err == nil || isExit(err) {
		return err
	}
	call, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	if !call.IsRemote() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return h.explainLocal(h.knocked(ctx, err))
	}
	code, text := ExitError, call.Message()
	switch call.Code() {
	case connect.CodeInvalidArgument:
		return invalid(call)
	case connect.CodeNotFound:
		code = ExitNotFound
	case connect.CodeAborted, connect.CodeFailedPrecondition, connect.CodeAlreadyExists:
		code = ExitConflict
	case connect.CodeUnavailable:
		code = ExitUnreachable
	case connect.CodePermissionDenied, connect.CodeUnauthenticated:
		text += fmt.Sprintf(": context %q is not allowed to do this", h.name)
	default: // its text is all there is to say
	}
	if text == "" {
		text = "the hub answered " + call.Code().String() + " without saying why: see its log"
	}
	return &exitError{code: code, text: text, err: err}
}

// knocked tries once more to connect where a hub hung up without a word: its
// reason is lost when a request was already under way. (In TLS 1.3 a server looks
// at the client's certificate after the client may speak.)
func (h *hub) knocked(ctx context.Context, err error) error {
	if h.knock == nil || errors.Is(err, identity.ErrUntrusted) {
		return err
	}
	if reason := h.knock(ctx); reason != nil {
		return reason
	}
	return err
}

// explainLocal is for calls that the hub did not answer.
func (h *hub) explainLocal(err error) error {
	switch {
	case errors.Is(err, identity.ErrUntrusted):
		return &exitError{code: ExitError, err: err, text: fmt.Sprintf(
			"what answers at %s is not the hub of context %q: %s; check hub and caFile (waterwheel config get-contexts)", h.server, h.name, root(err))}
	case strings.Contains(err.Error(), "remote error: tls"):
		return &exitError{code: ExitError, err: err, text: fmt.Sprintf(
			"the hub at %s refuses the certificate of context %q: is it of this hub, and not ended? (%s)", h.server, h.name, root(err))}
	}
	return &exitError{code: ExitUnreachable, err: err, text: fmt.Sprintf(
		"cannot reach the hub at %s (%s): is it running, and is context %q the right one? (waterwheel config get-contexts)",
		h.server, root(err), h.name)}
}

// root is the innermost cause in words.
func root(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return oneLine(err.Error())
		}
		err = inner
	}
}

// invalid is a refused request, with the faults that the hub named.
func invalid(call *connect.Error) error {
	e := &exitError{code: ExitUsage, text: call.Message(), err: call}
	for _, f := range badFields(call) {
		e.bare = append(e.bare, faultLine(f))
		e.text = ""
	}
	return e
}

func badFields(call *connect.Error) []*adminv1.BadField {
	var out []*adminv1.BadField
	for _, d := range call.Details() {
		m, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			continue // a detail of a newer hub: its message says it in words
		}
		if bad, ok := m.(*adminv1.BadFields); ok {
			out = append(out, bad.GetFields()...)
		}
	}
	return out
}

func faultLine(f *adminv1.BadField) string {
	if f.GetValue() == "" {
		return f.GetField() + ": " + f.GetRemedy()
	}
	return fmt.Sprintf("%s: %q: %s", f.GetField(), f.GetValue(), f.GetRemedy())
}
