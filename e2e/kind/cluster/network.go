package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
	"github.com/waterwheel-io/waterwheel/e2e/kind/engine"
)

// network is the Docker network that kind puts all nodes on, and takes as it is
// when it is there.
const network = "kind"

// subnets are those that the network may have in an engine of our own: the first
// that is free, so that this machine has the same address for pods however often
// the engine is made anew.
const subnets, subnetBits = "172.28.0.0/14", 20

// HostAddress returns an address of this machine that pods of every cluster
// reach. It stays as long as the engine; no cluster need be there yet.
func HostAddress(ctx context.Context, e *engine.Engine) (netip.Addr, error) {
	if err := ensureNetwork(ctx, e); err != nil {
		return netip.Addr{}, err
	}
	out, err := e.Docker(ctx, "network", "inspect", network, "-f", "{{json .IPAM.Config}}")
	if err != nil {
		return netip.Addr{}, err
	}
	return gateway([]byte(out))
}

// gateway reads this machine's IPv4 address in a network. Docker leaves it out
// where it was not told one; it is then the subnet's first.
func gateway(configs []byte) (netip.Addr, error) {
	var pools []struct{ Subnet, Gateway string }
	if err := json.Unmarshal(configs, &pools); err != nil {
		return netip.Addr{}, fmt.Errorf("network %s: %w", network, err)
	}
	for _, pool := range pools {
		if ip, err := netip.ParseAddr(pool.Gateway); err == nil && ip.Is4() {
			return ip, nil
		}
		if of, err := netip.ParsePrefix(pool.Subnet); err == nil && pool.Gateway == "" && of.Addr().Is4() {
			return of.Masked().Addr().Next(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network %s has no IPv4 address of this machine: %s", network, configs)
}

// ensureNetwork makes the nodes' network. Docker makes two of one name when two
// ask at once, so one asks at a time.
func ensureNetwork(ctx context.Context, e *engine.Engine) error {
	if hasNetwork(ctx, e) {
		return nil
	}
	dir, err := cache.Dir("e2e")
	if err != nil {
		return err
	}
	unlock, err := cache.Lock(ctx, filepath.Join(dir, "network.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if hasNetwork(ctx, e) {
		return nil
	}
	create := []string{"network", "create", "-d", "bridge", "-o", "com.docker.network.bridge.enable_ip_masquerade=true"}
	if e.Own {
		here, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("the nodes' network: addresses of this machine: %w", err)
		}
		if subnet, ok := freeSubnet(here); ok {
			if _, err := e.Docker(ctx, append(slices.Clone(create), "--subnet", subnet.String(), network)...); err == nil {
				return nil
			}
		}
	}
	if _, err := e.Docker(ctx, append(create, network)...); err != nil {
		return fmt.Errorf("the nodes' network: %w", err)
	}
	return nil
}

// freeSubnet is the first that this machine has no address in. An engine that was
// killed leaves its bridge behind, and Docker makes another one of the same
// addresses beside it, which nothing reaches then.
func freeSubnet(here []net.Addr) (netip.Prefix, bool) {
	all := netip.MustParsePrefix(subnets)
	step := uint32(1) << (32 - subnetBits)
	for at := all.Addr(); all.Contains(at); {
		subnet := netip.PrefixFrom(at, subnetBits)
		if !slices.ContainsFunc(here, func(a net.Addr) bool {
			of, err := netip.ParsePrefix(a.String())
			return err == nil && of.Overlaps(subnet)
		}) {
			return subnet, true
		}
		b := at.As4()
		at = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+step)))
	}
	return netip.Prefix{}, false
}

func hasNetwork(ctx context.Context, e *engine.Engine) bool {
	out, err := e.Docker(ctx, "network", "ls", "-q", "--filter", "name=^"+network+"$")
	return err == nil && out != ""
}
