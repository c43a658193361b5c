package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// A Task is one part that runs until its context ends. Name stands in its errors.
type Task struct {
	Name string
	Run  func(ctx context.Context) error
}

// ErrStopped is wrapped by the error of a task that returned nil although nobody asked it to stop.
var ErrStopped = errors.New("stopped without being asked")

// Tasks runs every task in a goroutine of its own and waits for all of them. The first that ends before ctx does, by an
// error, a panic or a plain return, cancels the others; context.Cause in them says which it was and why. Tasks returns
// that error. It returns nil when ctx ended and every task then returned nil or the context's error; a task that fails
// otherwise while stopping is reported.
func Tasks(ctx context.Context, tasks ...Task) error {
	return all(ctx, tasks, func(t Task) error {
		return fmt.Errorf("%s: %w", t.Name, ErrStopped)
	})
}

// Once is Tasks for parts that come to an end: a plain return is success, and the others go on.
func Once(ctx context.Context, tasks ...Task) error {
	return all(ctx, tasks, func(Task) error { return nil })
}

// all runs the tasks; returned says what a plain return means while ctx lives.
func all(ctx context.Context, tasks []Task, returned func(Task) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, task := range tasks {
		wg.Go(func() {
			err := guard(inner, task)
			stopping := inner.Err() != nil
			switch {
			case err == nil && !stopping:
				err = returned(task)
			case stopping && isStop(inner, err):
				err = nil
			}
			if err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	wg.Wait()

	return first
}

// guard runs one task; a panic is an error with the stack.
func guard(ctx context.Context, task Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", task.Name, p, debug.Stack())
		}
	}()
	if err := task.Run(ctx); err != nil {
		return fmt.Errorf("%s: %w", task.Name, err)
	}

	return nil
}

// isStop tells that an error is no more than the echo of the context's end.
func isStop(ctx context.Context, err error) bool {
	return err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))
}
