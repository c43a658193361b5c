package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
)

// check does to two clusters all that tests do, and prints what it saw.
func check(ctx context.Context, e *engine.Engine, one, two string) error {
	a, err := cluster.Open(ctx, e, one)
	if err != nil {
		return err
	}
	b, err := cluster.Open(ctx, e, two)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"network", func(ctx context.Context) error { return checkNetwork(ctx, e, a) }},
		{"cut", func(ctx context.Context) error { return checkCut(ctx, a, b) }},
		{"audit", func(ctx context.Context) error { return checkAudit(ctx, a) }},
		{"api_away", func(ctx context.Context) error { return checkAPIAway(ctx, a) }},
		{"pause", func(ctx context.Context) error { return checkPause(ctx, a) }},
		{"restart", func(ctx context.Context) error { return checkRestart(ctx, a) }},
		{"artifacts", func(ctx context.Context) error { return checkArtifacts(ctx, a) }},
	} {
		ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
		began := time.Now()
		err := part.run(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("clusters check=%s seconds=%.1f\n", part.name, time.Since(began).Seconds())
	}
	return nil
}

// checkNetwork reaches a server on this machine from the node, at the address
// that pods get.
func checkNetwork(ctx context.Context, e *engine.Engine, c *cluster.Cluster) error {
	host, err := cluster.HostAddress(ctx, e)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "here") }),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	said, err := c.Exec(ctx, "curl", "-sS", "-m", "5", "http://"+listener.Addr().String())
	if err != nil {
		return err
	}
	if said != "here" {
		return fmt.Errorf("this machine's server answered %q", said)
	}
	return nil
}

func checkCut(ctx context.Context, a, b *cluster.Cluster) error {
	reach := func() error {
		_, err := a.Exec(ctx, "curl", "-sk", "-m", "2", "-o", "/dev/null", "https://"+netip.AddrPortFrom(b.NodeIP, 6443).String())
		return err
	}
	if err := reach(); err != nil {
		return fmt.Errorf("before the cut: %w", err)
	}
	heal, err := cluster.Cut(ctx, a.NodeIP, b.NodeIP)
	if err != nil {
		return err
	}
	during := reach()
	if err := heal(); err != nil {
		return err
	}
	if during == nil {
		return errors.New("a cut let a connection through")
	}
	if err := reach(); err != nil {
		return fmt.Errorf("after healing: %w", err)
	}
	left, err := cluster.HealAll(ctx)
	if err == nil && left != 0 {
		err = fmt.Errorf("%d rules were left", left)
	}
	return err
}

func checkAudit(ctx context.Context, c *cluster.Cluster) error {
	_, mark, err := c.Audit(0)
	if err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "create", "configmap", "seen"); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "delete", "configmap", "seen"); err != nil {
		return err
	}
	events, _, err := c.Audit(mark)
	if err != nil {
		return err
	}
	verbs := map[string]int{}
	for _, e := range events {
		if e.ObjectRef.Resource == "configmaps" && e.ObjectRef.Namespace == "default" && e.User.Username == "kubernetes-admin" {
			verbs[e.Verb]++
		}
	}
	if verbs["create"] != 1 || verbs["delete"] != 1 {
		return fmt.Errorf("the audit log has %v", verbs)
	}
	return nil
}

func checkAPIAway(ctx context.Context, c *cluster.Cluster) error {
	start, err := c.StopAPIServer(ctx)
	if err != nil {
		return err
	}
	_, during := c.Kubectl(ctx, "get", "nodes", "--request-timeout=3s")
	if err := start(ctx); err != nil {
		return err
	}
	if during == nil {
		return errors.New("the API server answered while it was away")
	}
	return c.WaitReady(ctx)
}

func checkPause(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Pause(ctx); err != nil {
		return err
	}
	_, during := c.Kubectl(ctx, "get", "nodes", "--request-timeout=3s")
	if err := c.Unpause(ctx); err != nil {
		return err
	}
	if during == nil {
		return errors.New("a paused node answered")
	}
	return c.WaitReady(ctx)
}

func checkRestart(ctx context.Context, c *cluster.Cluster) error {
	before := c.NodeIP
	if err := c.Restart(ctx); err != nil {
		return err
	}
	if c.NodeIP != before {
		return fmt.Errorf("the node came back with another address: %s, was %s", c.NodeIP, before)
	}
	return c.WaitReady(ctx)
}

func checkArtifacts(ctx context.Context, c *cluster.Cluster) error {
	dir, err := os.MkdirTemp("", "ww-artifacts-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := c.DumpArtifacts(ctx, dir); err != nil {
		return err
	}
	pods, err := os.ReadFile(dir + "/pods.txt")
	if err != nil {
		return err
	}
	if !strings.Contains(string(pods), "coredns") {
		return fmt.Errorf("pods.txt does not name coredns: %s", pods)
	}
	return nil
}
