package session

import (
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/internal/feed"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// transmit is the sender, the only one that sends after the welcome. It looks at what is due, sends that, and sleeps
// until the next thing is due or somebody kicks it.
func (s *stream) transmit() error {
	var (
		ticks    int64
		nextTick = time.Now().Add(tickIn())
		timer    = time.NewTimer(0)
	)
	defer timer.Stop()
	for {
		now := time.Now()
		if ack := s.acks.take(now); ack != nil {
			if err := s.send(agentv1.SyncRequest_builder{Ack: ack}.Build()); err != nil {
				return err
			}
		}
		if !now.Before(nextTick) {
			ticks++
			if err := s.tick(ticks); err != nil {
				return err
			}
			nextTick = now.Add(tickIn())
		}
		sent, err := s.report(now)
		if err != nil {
			return err
		}
		if sent {
			continue // there may be more than one frame of it
		}
		timer.Reset(time.Until(earliest(nextTick, s.acks.dueAt(), s.c.dueAt(s.out.last))))
		select {
		case <-s.ctx.Done():
			return nil
		case <-timer.C:
		case <-s.c.kick:
		}
	}
}

func (s *stream) tick(n int64) error {
	st := s.c.cfg.Store.Standing()
	s.out.facts = true

	tick := agentv1.Tick_builder{N: n, Cursor: cursorToProto(st.Cursor), Root: st.Root[:]}.Build()

	return s.send(agentv1.SyncRequest_builder{Tick: tick}.Build())
}

// tickIn spreads the Ticks of many agents by a tenth.
func tickIn() time.Duration {
	return feed.TickEvery - time.Duration(mathrand.Float64()*float64(feed.TickEvery)/10)
}

func earliest(times ...time.Time) time.Time {
	return slices.MinFunc(times, func(a, b time.Time) int {
		switch {
		case a.IsZero() && b.IsZero():
			return 0
		case a.IsZero():
			return 1
		case b.IsZero():
			return -1
		}

		return a.Compare(b)
	})
}

// acks gathers what is to be acked. The receiver adds, the sender takes.
type acks struct {
	mu     sync.Mutex // guards what follows
	cursor feed.Cursor
	nacks  []feed.Nack
	since  time.Time // oldest recorded frame not yet acked; zero: none
	bytes  int
}

// add takes a frame that was recorded. The zero cursor (the write goes on in the next frame) leaves nothing to ack yet.
func (a *acks) add(cursor feed.Cursor, nacks []feed.Nack, size int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nacks = append(a.nacks, nacks...)
	a.bytes += size
	if cursor.IsZero() {
		return
	}
	a.cursor = cursor
	if a.since.IsZero() {
		a.since = now
	}
}

// dueAt is when take has something; zero: nothing waits.
func (a *acks) dueAt() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.due()
}

func (a *acks) due() time.Time {
	switch {
	case a.since.IsZero():
		return time.Time{}
	case a.bytes >= ackBytes || len(a.nacks) > 0:
		return a.since
	}

	return a.since.Add(ackDelay)
}

// take is one ack for everything recorded so far, nil while it may wait for more.
func (a *acks) take(now time.Time) *agentv1.Ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	if due := a.due(); due.IsZero() || now.Before(due) {
		return nil
	}
	var nacks []*agentv1.Nack
	size := 0
	for _, nack := range a.nacks {
		p := nackToProto(nack)
		if size += proto.Size(p); size > feed.MaxMessage/2 && len(nacks) > 0 {
			break
		}
		nacks = append(nacks, p)
	}
	if a.nacks = a.nacks[len(nacks):]; len(a.nacks) == 0 {
		a.nacks, a.since, a.bytes = nil, time.Time{}, 0
	}

	return agentv1.Ack_builder{Cursor: cursorToProto(a.cursor), Nacks: nacks}.Build()
}
