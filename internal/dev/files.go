package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What a world tells its hub and its agents.
const (
	trustDomain = "dev.waterwheel"
	adminName   = "dev"
)

// binaries are the programs of a world, which lie in one directory.
type binaries struct {
	cli, hubPath, agentPath string
}

// findBinaries takes the programs beside the one that runs.
func findBinaries() (binaries, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return binaries{}, fmt.Errorf("find my own program: %w", err)
	}
	dir := filepath.Dir(self)
	b := binaries{cli: self, hubPath: filepath.Join(dir, "waterwheel-hub"), agentPath: filepath.Join(dir, "waterwheel-agent")}
	for _, path := range []string{b.hubPath, b.agentPath} {
		if !isFile(path) {
			return binaries{}, fmt.Errorf("%s is not beside %s: put the three programs into one directory (`make build`)", filepath.Base(path), self)
		}
	}
	return b, nil
}

func (b binaries) hub(at layout) []string { return []string{b.hubPath, "--config", at.hubConfig()} }

func (b binaries) agent(at layout, name string) []string {
	return []string{b.agentPath, "--config", at.agentConfig(name)}
}

func (b binaries) hubInit(at layout, w world) []string {
	return []string{
		b.hubPath, "init", "--dir", at.hub(), "--admin-name", adminName, "--trust-domain", trustDomain,
		"--agents", address(w.Hub.Agents), "--admin", address(w.Hub.Admin), "--metrics", address(w.Hub.Metrics),
	}
}

// agentDown ends the processes of all runs of an agent.
func (b binaries) agentDown(at layout, name string) []string {
	return []string{b.agentPath, "down", "--config", at.agentConfig(name)}
}

func (b binaries) supervise(at layout) []string {
	return []string{b.cli, "dev", "supervise", "--dir", string(at)}
}

// invitation is what the hub gave for a new agent.
type invitation struct {
	Token       string `json:"token"`
	CABundle    string `json:"caBundle"`
	TrustDomain string `json:"trustDomain"`
}

// ground is what Flink needs on this host.
type ground struct {
	Java  string            // the java command
	Flink map[string]string // home of a distribution by version, as 2.3
	Lib   string            // jars of the oldest of them
}

// writeAgent writes what an agent starts from. Its configuration comes last: once it is there, the agent is kept up.
func (l layout) writeAgent(c cluster, inv invitation, g ground, memory string) error {
	if err := errors.Join(os.MkdirAll(l.agent(c.Name), 0o700), os.MkdirAll(l.usrlib(), 0o755), os.MkdirAll(l.state(), 0o755)); err != nil {
		return err
	}
	domain := inv.TrustDomain
	if domain == "" {
		domain = trustDomain
	}
	if inv.Token != "" {
		if err := replaceFile(l.agentToken(c.Name), []byte(inv.Token+"\n"), 0o600); err != nil {
			return err
		}
		if err := replaceFile(l.agentRoots(c.Name), []byte(inv.CABundle), 0o644); err != nil {
			return err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "hub:\n  address: %s\n  trustDomain: %s\n  caFile: %q\n  tokenFile: %q\n", address(c.Relay), domain, l.agentRoots(c.Name), l.agentToken(c.Name))
	fmt.Fprintf(&b, "dir: %q\nlisten: %s\n", l.agent(c.Name), address(c.Listen))
	fmt.Fprintf(&b, "runtime:\n  kind: process\n  java: %q\n  usrlib: %q\n  flink:\n", g.Java, l.usrlib())
	for _, v := range sortedKeys(g.Flink) {
		fmt.Fprintf(&b, "    %q: %q\n", v, g.Flink[v])
	}
	fmt.Fprintf(&b, "stateStorage:\n  root: %q\n", "file://"+l.state())
	if memory != "" {
		fmt.Fprintf(&b, "capacity:\n  memory: %s\n", memory)
	}
	b.WriteString("log:\n  level: info\n  format: text\n")
	return replaceFile(l.agentConfig(c.Name), []byte(b.String()), fs.FileMode(0o600))
}

// writeContext writes a context of the waterwheel command for this world.
func (l layout) writeContext(w world) error {
	text := fmt.Sprintf("currentContext: dev\ncontexts:\n  - name: dev\n    hub: %s\n    caFile: %q\n    certFile: %q\n    keyFile: %q\n",
		address(w.Hub.Admin), l.hubAdmin("ca.pem"), l.hubAdmin("cert.pem"), l.hubAdmin("key.pem"))
	return replaceFile(l.context(), []byte(text), 0o600)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func listOf(names []string) string {
	if len(names) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(names, ", ")
}
