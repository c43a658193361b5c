package reconcile

import (
	"sync"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// claims is the room of jobs that had it and do not use it at the moment, since
// their run is over and the next one is not there yet. It is kept for them: a job
// that is edited or healed does not lose its place to one that waits for room.
// The zero value is ready, and all of it can be lost.
type claims struct {
	mu sync.Mutex
	of map[string]int64 // bytes, by uid; absent: none
}

func (c *claims) set(uid string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n <= 0 {
		delete(c.of, uid)
		return
	}
	if c.of == nil {
		c.of = map[string]int64{}
	}
	c.of[uid] = n
}

// others is what is claimed by all jobs but one.
func (c *claims) others(uid string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := -c.of[uid]
	for _, n := range c.of {
		sum += n
	}
	return sum
}

// claim is what a job keeps of its room beyond what its processes hold once the
// plan's action is done. A job that waits for room, or has nothing to run, keeps none.
func claim(p plan.Plan, runs []flink.RunObserved) int64 {
	c := p.Memory.Current
	if c == nil || p.Situation == plan.NoRoom {
		return 0
	}
	switch p.Status.State {
	case flink.Starting, flink.Running, flink.Upgrading, flink.Failing, flink.Unknown:
	default:
		return 0
	}
	n := c.Spec.MemoryBytes()
	end, _ := p.Action.(plan.EndRun)
	for _, r := range runs {
		if r.Run != end.Run {
			n -= r.Memory
		}
	}
	return max(n, 0)
}
