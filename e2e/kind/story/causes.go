package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// cause is something that keeps a new job from running, and the words by which `why` has to name it.
type cause struct {
	name   string
	change func(*job)
	spoil  func(ctx context.Context) (mend func(context.Context) error, err error)
	words  []string // each has to be in the sentence
}

func (t *teller) causes() []cause {
	nothing := func(context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return nil }, nil
	}
	return []cause{
		{"image-missing", func(j *job) { j.image = "registry.invalid/flink:nowhere" }, nothing, []string{"registry.invalid/flink:nowhere"}},
		{"quota-full", func(*job) {}, t.fullQuota, []string{"quota"}},
		{"secret-missing", func(*job) {}, t.withoutSecret, []string{"state-storage"}},
		{"storage-unreachable", func(*job) {}, t.withoutStorage, []string{"s3"}},
	}
}

// named: what keeps a job from running is named in one sentence.
func (t *teller) named(ctx context.Context) error {
	var kv []any
	for _, c := range t.causes() {
		said, err := t.name(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t.f.Say(c.name + ": " + said)
		kv = append(kv, c.name, "named")
	}
	if err := t.inSync(ctx); err != nil { // clicks was not harmed
		return err
	}
	stage.Line(os.Stdout, "why", kv...)
	return nil
}

// name spoils the place, declares a job, and waits until its sentence names the cause.
func (t *teller) name(ctx context.Context, c cause) (said string, err error) {
	mend, err := c.spoil(ctx)
	if err != nil {
		return "", err
	}
	j := t.clicks()
	j.name, j.args = c.name, []string{"--print", "--rate", "10"}
	c.change(&j)
	if err := t.w.Apply(ctx, j.yaml()); err != nil {
		return "", errors.Join(err, mend(context.WithoutCancel(ctx)))
	}
	err = stage.Poll(ctx, limit, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		out, err := t.f.CLI(ctx, "", "why", c.name)
		if err != nil {
			return false, err
		}
		said = strings.TrimSpace(out)
		for _, w := range c.words {
			if !strings.Contains(strings.ToLower(said), strings.ToLower(w)) {
				return false, errors.New("it says: " + said)
			}
		}
		return true, nil
	})
	_, gone := t.f.CLI(ctx, "", "delete", "job", c.name, "--policy", "cancel", "--wait")
	return said, errors.Join(err, gone, mend(context.WithoutCancel(ctx)))
}

// fullQuota leaves no room for another run.
func (t *teller) fullQuota(ctx context.Context) (func(context.Context) error, error) {
	text := fmt.Sprintf("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: full, namespace: %s}\nspec: {hard: {limits.memory: 2Gi}}\n", world.JobNamespace)
	if _, err := t.c.KubectlWith(ctx, strings.NewReader(text), "apply", "-f", "-"); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := t.c.Kubectl(ctx, "-n", world.JobNamespace, "delete", "resourcequota", "full")
		return err
	}, nil
}

// withoutSecret takes the Secret of the storage's credentials away. Pods that run have them already.
func (t *teller) withoutSecret(ctx context.Context) (func(context.Context) error, error) {
	if _, err := t.c.Kubectl(ctx, "-n", world.JobNamespace, "delete", "secret", "state-storage"); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return t.f.GiveCredentials(ctx, t.c) }, nil
}

// withoutStorage makes the storage refuse connections.
func (t *teller) withoutStorage(ctx context.Context) (func(context.Context) error, error) {
	if err := t.f.Storage.Unreachable(ctx); err != nil {
		return nil, err
	}
	return t.f.Storage.Reachable, nil
}
