package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"

	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Ports are taken from below the range that the kernel gives to outgoing
// connections, so that none of these comes in between choice and use.
const portLow, portHigh = 20000, 32000

// freePorts chooses three ports that nobody listens on now and no other run has.
// One can still be gone when Flink binds it: then the next Ensure chooses anew.
func freePorts(ctx context.Context, taken map[int]bool) (config.Ports, error) {
	var got [3]int
	n := 0
	for range 1000 {
		port := portLow + rand.IntN(portHigh-portLow)
		if taken[port] || !free(ctx, port) {
			continue
		}
		taken[port] = true
		if got[n] = port; n == len(got)-1 {
			return config.Ports{REST: got[0], RPC: got[1], Blob: got[2]}, nil
		}
		n++
	}
	return config.Ports{}, errors.New("no free ports on loopback")
}

func free(ctx context.Context, port int) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// portsInUse are the recorded ports of all runs that live.
func (r *Runtime) portsInUse(all []found) map[int]bool {
	taken := make(map[int]bool)
	for run := range living(all) {
		if rec, ok, err := r.dir(run).read(); err == nil && ok {
			taken[rec.Ports.REST], taken[rec.Ports.RPC], taken[rec.Ports.Blob] = true, true, true
		}
	}
	return taken
}
