package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// State is what a relay does with bytes.
type State string

// The states of a relay.
const (
	Open  State = "open"  // bytes flow
	Cut   State = "cut"   // a black hole: connections stall, new ones hang
	Reset State = "reset" // connections are closed, new ones at once
)

// Limits of a relay.
const (
	maxConns = 512             // at once; more are closed
	patience = 2 * time.Minute // for which a new connection hangs during a cut, as one does that gets no answer
)

// Relay is a wire that can be cut: it copies bytes between those who connect to
// it and one far end. All methods may be called from many goroutines.
type Relay struct {
	lis  net.Listener
	dial func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	state State
	open  chan struct{} // closed while bytes flow
	conns map[net.Conn]struct{}
}

// New takes connections of lis, which it owns from here on, to where dial leads.
func New(lis net.Listener, dial func(context.Context) (net.Conn, error), state State) *Relay {
	r := &Relay{lis: lis, dial: dial, state: Open, open: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(r.open)
	r.Set(state)
	return r
}

// Addr is where it listens.
func (r *Relay) Addr() string { return r.lis.Addr().String() }

// State is what it does now, and with how many connections.
func (r *Relay) State() (State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, len(r.conns)
}

// Set changes what it does. Bytes that were held back by a cut flow on when it
// opens: to both ends it looks like a network that came back.
func (r *Relay) Set(state State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wasOpen := r.state == Open
	r.state = state
	switch {
	case state == Open && !wasOpen:
		close(r.open)
	case state != Open && wasOpen:
		r.open = make(chan struct{})
	}
	if state == Reset {
		for c := range r.conns {
			reset(c)
		}
	}
}

// Run relays until ctx ends; then every connection is closed.
func (r *Relay) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.lis.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for {
		c, err := r.lis.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("relay: %w", err)
		case err != nil: // out of file descriptors, or a connection that went before it was taken
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		wg.Go(func() { r.serve(ctx, c) })
	}
}

// serve relays one connection. While the relay is cut it does not even dial.
func (r *Relay) serve(ctx context.Context, near net.Conn) {
	if !r.add(near) {
		return
	}
	defer r.remove(near)
	waiting, cancel := context.WithTimeout(ctx, patience)
	flows := r.flows(waiting)
	cancel()
	if !flows {
		return // whoever it was gave up long ago: its bytes must not reach the far end after the cut
	}
	far, err := r.dial(ctx)
	if err != nil || !r.add(far) {
		return
	}
	defer r.remove(far)
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { r.copy(ctx, far, near) })
	wg.Go(func() { r.copy(ctx, near, far) })
	wg.Wait()
}

// copy moves bytes one way until either end is gone. It neither reads nor writes
// while the relay is cut, but for one buffer that was being read when the cut came.
func (r *Relay) copy(ctx context.Context, dst, src net.Conn) {
	buf := make([]byte, 32<<10)
	for r.flows(ctx) {
		n, err := src.Read(buf)
		if !r.flows(ctx) {
			return
		}
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				if r.flows(ctx) { // else the farewell would pass: a reset closes both ends without one, a cut says nothing
					src.Close()
				}
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
					return
				}
			}
			dst.Close()
			return
		}
	}
}

// flows waits until bytes may flow; false when ctx ended first.
func (r *Relay) flows(ctx context.Context) bool {
	for {
		r.mu.Lock()
		open, state := r.open, r.state
		r.mu.Unlock()
		if state == Open {
			return ctx.Err() == nil
		}
		select {
		case <-open:
		case <-ctx.Done():
			return false
		}
	}
}

// add takes note of a connection; false, and closed, when connections are being reset or are too many.
func (r *Relay) add(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Reset || len(r.conns) >= maxConns {
		reset(c)
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *Relay) remove(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	c.Close()
}

// reset closes without a farewell, where that is possible.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it is being closed: nothing else to try
	}
	c.Close()
}
