package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// hubUpgraded: an upgrade of the hub's chart and a kill of its pod cost no job anything, and no row is sent again.
func (t *teller) hubUpgraded(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	before := t.told(ctx, run)
	values := map[string]any{"podAnnotations": map[string]any{"waterwheel.dev/upgraded": fmt.Sprint(time.Now().Unix())}}
	if err := t.f.Helm(ctx, t.f.Vendor, values, "helm upgrade waterwheel-hub charts/waterwheel-hub --namespace "+world.HubNamespace+" --reuse-values"); err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return fmt.Errorf("after the upgrade: %w", err)
	}
	upgraded, err := t.rowsSent(ctx)
	if err != nil {
		return err
	}
	if err := t.killHub(ctx); err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	killed, err := t.rowsSent(ctx)
	if err != nil {
		return err
	}
	if err := t.undisturbed(ctx, run, before, 5*time.Second); err != nil {
		return err
	}
	if upgraded+killed > 0 {
		return fmt.Errorf("%d rows were sent after the upgrade and %d after the kill, with nothing changed", upgraded, killed)
	}
	stage.Line(os.Stdout, "hub-upgraded", "and_killed", true, "resyncs", upgraded+killed, "disturbed", 0)
	return nil
}

// killHub kills the hub's pod and waits until the one that follows is ready: what is read of the hub before may come from
// the one that is killed.
func (t *teller) killHub(ctx context.Context) error {
	pod := func(ctx context.Context) (string, error) {
		return t.f.Vendor.Kubectl(ctx, "-n", world.HubNamespace, "get", "pod", "waterwheel-hub-0", "-o", `jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}`)
	}
	before, err := pod(ctx)
	if err != nil {
		return err
	}
	killed, _, _ := strings.Cut(before, " ")
	if _, err := t.f.Vendor.Kubectl(ctx, "-n", world.HubNamespace, "delete", "pod", "waterwheel-hub-0", "--grace-period=0", "--force"); err != nil {
		return err
	}
	err = stage.Poll(ctx, limit, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		now, err := pod(ctx)
		uid, ready, _ := strings.Cut(now, " ")
		return err == nil && uid != "" && uid != killed && ready == "True", err
	})
	if err != nil {
		return fmt.Errorf("waiting for the hub after the kill: %w", err)
	}
	return nil
}

// rowsSent is how many rows the hub has sent in this life of its process, by its own metrics.
func (t *teller) rowsSent(ctx context.Context) (n int, err error) {
	err = stage.Poll(ctx, answers, time.Second, func(ctx context.Context) (bool, error) {
		var err error
		n, err = t.f.HubCounter(ctx, "waterwheel_hub_rows_sent_total")
		return err == nil, err
	})
	return n, err
}

// rotated: certificates that live two minutes are renewed for six, and nobody notices. Then they live as long as usual.
func (t *teller) rotated(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	before := t.told(ctx, run)
	sent, err := t.rowsSent(ctx)
	if err != nil {
		return err
	}
	expiries := map[string]bool{}
	end := time.Now().Add(6 * time.Minute)
	for time.Now().Before(end) {
		at, err := t.certificateEnds(ctx)
		if err != nil {
			return err
		}
		expiries[at.String()] = true
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	after, err := t.rowsSent(ctx)
	if err != nil {
		return err
	}
	if err := t.undisturbed(ctx, run, before, time.Second); err != nil {
		return err
	}
	rotations := len(expiries) - 1
	if rotations < 4 || after != sent {
		return fmt.Errorf("%d rotations in six minutes, and %d rows sent with nothing changed", rotations, after-sent)
	}
	stage.Line(os.Stdout, "certificates", "life", t.o.certificateLife(), "for_s", 360, "rotations", rotations, "resyncs", after-sent)
	values := map[string]any{"certificateLife": "24h"}
	if err := t.f.Helm(ctx, t.f.Vendor, values, "helm upgrade waterwheel-hub charts/waterwheel-hub --namespace "+world.HubNamespace+" --reuse-values"); err != nil {
		return err
	}
	return stage.Poll(ctx, limit, time.Second, func(ctx context.Context) (bool, error) {
		at, err := t.certificateEnds(ctx)
		return time.Until(at) > time.Hour, err
	})
}

// certificateEnds is when c1's certificate does, as the hub says.
func (t *teller) certificateEnds(ctx context.Context) (time.Time, error) {
	out, err := t.f.CLI(ctx, "", "get", "cluster", "c1", "-o", "json")
	if err != nil {
		return time.Time{}, err
	}
	var c struct {
		CertificateExpiresAt time.Time `json:"certificateExpiresAt"`
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		return time.Time{}, fmt.Errorf("read cluster c1: %w", err)
	}
	return c.CertificateExpiresAt, nil
}

// uninstalled: an uninstall keeps the jobs, a second agent takes them over, and an uninstall that is told to remove all does.
func (t *teller) uninstalled(ctx context.Context) error {
	run := t.run(t.job.Status.Run)
	before := t.told(ctx, run)
	uninstall := func() error {
		return t.f.Helm(ctx, t.c, nil, "helm uninstall waterwheel-agent --namespace "+world.AgentNamespace+" --wait --timeout 4m")
	}
	if err := uninstall(); err != nil {
		return err
	}
	if err := t.undisturbed(ctx, run, before, 20*time.Second); err != nil {
		return fmt.Errorf("after the uninstall: %w", err)
	}
	kept, err := t.c.Kubectl(ctx, "-n", world.AgentNamespace, "get", "wj", "-o", "name")
	if err != nil || strings.TrimSpace(kept) == "" {
		return errors.Join(fmt.Errorf("FlinkJob objects after the uninstall: %q", kept), err)
	}
	if err := t.f.Join(ctx, 0, nil); err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return fmt.Errorf("after the installation: %w", err)
	}
	if err := t.undisturbed(ctx, run, before, time.Second); err != nil {
		return fmt.Errorf("after the installation: %w", err)
	}
	if err := t.upgradeAgent(ctx, map[string]any{"removeJobsOnUninstall": true}); err != nil {
		return err
	}
	if err := uninstall(); err != nil {
		return err
	}
	left, err := t.left(ctx)
	if err != nil {
		return err
	}
	stage.Line(os.Stdout, "uninstall", "jobs", "kept", "taken_over", true, "with_removal_objects_left", len(left))
	if len(left) > 0 {
		return fmt.Errorf("left after an uninstall with removal: %s", strings.Join(left, ", "))
	}
	return nil
}

// left lists what is left of jobs and agent, but for the CRD.
func (t *teller) left(ctx context.Context) (left []string, err error) {
	err = stage.Poll(ctx, limit, time.Second, func(ctx context.Context) (bool, error) {
		left = nil
		out, err := t.c.Kubectl(ctx, "get", "deployments,pods,services,configmaps,secrets,networkpolicies,roles,rolebindings,serviceaccounts,resourcequotas", "-n", world.JobNamespace, "-o", "name", "--ignore-not-found")
		if err != nil {
			return false, err
		}
		records, err := t.c.Kubectl(ctx, "get", "wj", "-A", "-o", "name", "--ignore-not-found")
		if err != nil {
			return false, err
		}
		for name := range strings.FieldsSeq(out + "\n" + records) {
			if name != "configmap/kube-root-ca.crt" && name != "serviceaccount/default" && name != "secret/state-storage" && !strings.HasSuffix(name, "-witness") {
				left = append(left, name)
			}
		}
		return len(left) == 0, nil
	})
	if len(left) > 0 {
		return left, nil
	}
	return nil, err
}
