package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// rule is one line in a chain of this machine's packet filter.
type rule []string

const cutMark = "ww-cut"

// Cut drops every packet between two addresses, both ways, until heal is called
// or this process ends, however it ends. An address is a node's or one of this
// machine's. Connections stay open at both ends and hear nothing.
func Cut(ctx context.Context, a, b netip.Addr) (heal func() error, err error) {
	if err := bridgesFiltered(); err != nil {
		return nil, err
	}
	local, err := localAddresses()
	if err != nil {
		return nil, err
	}
	rules := cutRules(a, b, local)
	undo, err := guard(ctx, rules)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if err := iptables(ctx, "-I", r); err != nil {
			return nil, errors.Join(fmt.Errorf("cut %s from %s: %w", a, b, err), undo())
		}
	}
	return undo, nil
}

// cutRules drops packets that go through this machine, and those that begin or
// end on it.
func cutRules(a, b netip.Addr, local map[netip.Addr]bool) []rule {
	drop := func(chain string, from, to netip.Addr) rule {
		return rule{chain, "-s", from.String(), "-d", to.String(), "-m", "comment", "--comment", cutMark, "-j", "DROP"}
	}
	var rules []rule
	for _, way := range [][2]netip.Addr{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		switch {
		case local[to]:
			rules = append(rules, drop("INPUT", from, to))
		case local[from]:
			rules = append(rules, drop("OUTPUT", from, to))
		default:
			rules = append(rules, drop("DOCKER-USER", from, to))
		}
	}
	return rules
}

// guard starts a process that removes the rules when its input ends: at the call
// of undo, or when this process is no more.
func guard(ctx context.Context, rules []rule) (undo func() error, err error) {
	path, err := exec.LookPath("iptables")
	if err != nil {
		return nil, fmt.Errorf("no iptables on this machine: install Debian's package iptables: %w", err)
	}
	script := []string{"read end"}
	for _, r := range rules {
		script = append(script, path+" -w -D "+strings.Join(r, " "))
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", strings.Join(script, "; "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt is not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return sync.OnceValue(func() error {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			return fmt.Errorf("heal: %w", err)
		}
		return nil
	}), nil
}

// HealAll removes cuts that are left, whoever made them.
func HealAll(ctx context.Context) (healed int, err error) {
	if _, err := exec.LookPath("iptables"); err != nil {
		return 0, nil
	}
	out, err := exec.CommandContext(ctx, "iptables", "-w", "-S").Output()
	if err != nil {
		return 0, fmt.Errorf("iptables -S: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "-A" || !strings.Contains(line, cutMark) {
			continue
		}
		if err := iptables(ctx, "-D", fields[1:]); err != nil {
			return healed, err
		}
		healed++
	}
	return healed, nil
}

func iptables(ctx context.Context, verb string, r rule) error {
	cmd := exec.CommandContext(ctx, "iptables", append([]string{"-w", verb}, r...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s: %w: %s", verb, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// bridgesFiltered makes packets between nodes, which go over a bridge, pass the
// packet filter.
func bridgesFiltered() error {
	const path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("packets over bridges are not filtered here (load br_netfilter): %w", err)
	}
	if strings.TrimSpace(string(b)) == "1" {
		return nil
	}
	return os.WriteFile(path, []byte("1"), 0o644)
}

func localAddresses() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := map[netip.Addr]bool{}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			local[prefix.Addr()] = true
		}
	}
	return local, nil
}
