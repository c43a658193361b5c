package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// modules gets the modules that all steps compile, before one of them needs them: the go command gives up at the first
// request that fails, and what it has got stays.
func modules(ctx context.Context, out io.Writer) error {
	list := []string{"go", "list", "-deps", "-f", "{{with .Error}}{{.}}{{end}}"}
	var gets []func(context.Context, io.Writer) error
	for _, dir := range []string{".", "e2e/kind", "e2e/node"} {
		gets = append(gets, in(dir, slices.Concat(list, []string{"-test", "./..."})...))
	}
	for _, file := range []string{"helm", "gen", "buf", "dev", "lint"} {
		gets = append(gets, command(slices.Concat(list, []string{"-modfile=.ci/tools/" + file + ".mod", "tool"})...))
	}
	gets = append(gets, in("e2e/kind", slices.Concat(list, []string{"-modfile=storage/gateway.mod", "github.com/versity/versitygw/cmd/versitygw"})...))
	for _, get := range gets {
		if err := again(ctx, out, get); err != nil {
			return err
		}
	}

	return nil
}

// again does what needs the network until it has worked, a few times.
func again(ctx context.Context, out io.Writer, do func(context.Context, io.Writer) error) error {
	for _, pause := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute} {
		err := do(ctx, out)
		if err == nil || ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(out, "%v; again in %s\n", err, pause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}

	return do(ctx, out)
}
