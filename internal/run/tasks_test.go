package run_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/run"
)

var errBroken = errors.New("broken")

func wait(ctx context.Context) error {
	<-ctx.Done()

	return ctx.Err()
}

func TestFirstErrorStopsAllAndIsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		put := false
		err := run.Tasks(t.Context(),
			run.Task{Name: "store", Run: func(context.Context) error { time.Sleep(time.Second); return errBroken }},
			run.Task{Name: "session", Run: func(ctx context.Context) error {
				<-ctx.Done()
				cause = context.Cause(ctx)
				time.Sleep(time.Minute)
				put = true

				return nil
			}},
		)
		if !errors.Is(err, errBroken) || err.Error() != "store: broken" {
			t.Errorf("got %v, want store: broken", err)
		}
		if !errors.Is(cause, errBroken) || !put {
			t.Errorf("cause %v, other task finished: %v; want broken and true", cause, put)
		}
	})
}

func TestEndOfContextIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(errors.New("asked to stop")) })
		err := run.Tasks(ctx,
			run.Task{Name: "a", Run: wait},
			run.Task{Name: "b", Run: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }},
			run.Task{Name: "c", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
		)
		if err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}

func TestFailureWhileStoppingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		err := run.Tasks(ctx,
			run.Task{Name: "a", Run: wait},
			run.Task{Name: "b", Run: func(ctx context.Context) error { <-ctx.Done(); return errBroken }},
		)
		if !errors.Is(err, errBroken) {
			t.Errorf("got %v, want broken", err)
		}
	})
}

func TestPanicBecomesAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := run.Tasks(t.Context(),
			run.Task{Name: "a", Run: wait},
			run.Task{Name: "b", Run: func(context.Context) error { panic("no such row") }},
		)
		if err == nil || !strings.HasPrefix(err.Error(), "b: panic: no such row") {
			t.Errorf("got %v, want the panic of b", err)
		}
	})
}

func TestPlainReturnEndsTasksButNotOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := run.Task{Name: "early", Run: func(context.Context) error { return nil }}
		if err := run.Tasks(t.Context(), run.Task{Name: "a", Run: wait}, early); !errors.Is(err, run.ErrStopped) {
			t.Errorf("tasks: got %v, want ErrStopped", err)
		}
		late := false
		err := run.Once(t.Context(), early, run.Task{Name: "late", Run: func(ctx context.Context) error {
			time.Sleep(time.Hour)
			late = ctx.Err() == nil

			return nil
		}})
		if err != nil || !late {
			t.Errorf("once: got %v, late undisturbed: %v; want nil and true", err, late)
		}
	})
}
