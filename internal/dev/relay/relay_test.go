package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener and a far end without a network, so that a bubble can tell when nothing moves.
type pipes struct {
	in, far chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func newPipes() *pipes {
	return &pipes{in: make(chan net.Conn), far: make(chan net.Conn, 8), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.in:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(context.Context) (net.Conn, error) {
	a, b := net.Pipe()
	p.far <- b
	return a, nil
}

// connect is a client of the relay.
func (p *pipes) connect() net.Conn {
	a, b := net.Pipe()
	p.in <- b
	return a
}

// inBubble runs a relay within a bubble.
func inBubble(t *testing.T, state State, test func(t *testing.T, p *pipes, r *Relay)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		r := New(p, p.dial, state)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		test(t, p, r)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay ended with %v", err)
		}
	})
}

// reader collects what arrives, in the background.
type reader struct {
	mu  sync.Mutex
	buf bytes.Buffer
	err error
}

func read(c net.Conn) *reader {
	r := &reader{}
	go func() {
		b := make([]byte, 64)
		for {
			n, err := c.Read(b)
			r.mu.Lock()
			r.buf.Write(b[:n])
			r.err = err
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return r
}

func (r *reader) got() (string, error) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String(), r.err
}

func write(c net.Conn, s string) { go io.WriteString(c, s) }

func TestBytesFlowBothWaysThroughAnOpenRelay(t *testing.T) {
	inBubble(t, Open, func(t *testing.T, p *pipes, _ *Relay) {
		near := p.connect()
		far := <-p.far
		atFar, atNear := read(far), read(near)
		write(near, "up")
		write(far, "down")
		if s, _ := atFar.got(); s != "up" {
			t.Errorf("far end got %q", s)
		}
		if s, _ := atNear.got(); s != "down" {
			t.Errorf("near end got %q", s)
		}
		near.Close()
		if _, err := atFar.got(); err == nil {
			t.Error("the far end was not told of the end")
		}
	})
}

func TestACutHoldsEveryByteAndHealLetsThemFlowInOrder(t *testing.T) {
	inBubble(t, Open, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		far := <-p.far
		atFar, atNear := read(far), read(near)
		write(near, "a")
		atFar.got()
		r.Set(Cut)
		write(near, "b")
		write(far, "x")
		time.Sleep(20 * time.Hour)
		if s, err := atFar.got(); s != "a" || err != nil {
			t.Errorf("during the cut the far end got %q, %v", s, err)
		}
		if s, err := atNear.got(); s != "" || err != nil {
			t.Errorf("during the cut the near end got %q, %v", s, err)
		}
		r.Set(Open)
		if s, _ := atFar.got(); s != "ab" {
			t.Errorf("after the cut the far end got %q", s)
		}
		if s, _ := atNear.got(); s != "x" {
			t.Errorf("after the cut the near end got %q", s)
		}
	})
}

func TestAFarEndThatGoesDuringACutIsMissedOnlyAfterIt(t *testing.T) {
	inBubble(t, Open, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		far := <-p.far
		atNear := read(near)
		write(near, "a") // which the far end never reads
		synctest.Wait()
		r.Set(Cut)
		far.Close()
		if _, err := atNear.got(); err != nil {
			t.Errorf("the near end was told during the cut: %v", err)
		}
		r.Set(Open)
		if _, err := atNear.got(); err == nil {
			t.Error("the near end was never told")
		}
	})
}

func TestDuringACutNewConnectionsAreTakenAndHang(t *testing.T) {
	inBubble(t, Cut, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		write(near, "hello")
		atNear := read(near)
		time.Sleep(time.Minute)
		if s, err := atNear.got(); s != "" || err != nil {
			t.Errorf("got %q, %v", s, err)
		}
		if state, conns := r.State(); state != Cut || conns != 1 || len(p.far) != 0 {
			t.Errorf("state %s with %d connections, %d dialled", state, conns, len(p.far))
		}
		r.Set(Open)
		atFar := read(<-p.far)
		if s, _ := atFar.got(); s != "hello" {
			t.Errorf("after the cut got %q", s)
		}
	})
}

func TestAConnectionThatHungTooLongNeverReachesTheFarEnd(t *testing.T) {
	inBubble(t, Cut, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		write(near, "hello")
		atNear := read(near)
		time.Sleep(time.Hour)
		if _, err := atNear.got(); err == nil {
			t.Error("it still hangs")
		}
		r.Set(Open)
		synctest.Wait()
		if _, conns := r.State(); conns != 0 || len(p.far) != 0 {
			t.Errorf("%d connections, %d dialled", conns, len(p.far))
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	inBubble(t, Cut, func(t *testing.T, p *pipes, r *Relay) {
		for range maxConns {
			p.connect()
		}
		synctest.Wait()
		if _, err := read(p.connect()).got(); err == nil {
			t.Error("one too many was kept")
		}
		if _, conns := r.State(); conns != maxConns {
			t.Errorf("%d connections", conns)
		}
	})
}

func TestACutRepeatedHoldsAgain(t *testing.T) {
	inBubble(t, Open, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		atFar := read(<-p.far)
		for i, s := range []string{"a", "b", "c"} {
			r.Set(Cut)
			r.Set(Cut)
			write(near, s)
			if got, _ := atFar.got(); len(got) != i {
				t.Errorf("round %d: got %q during the cut", i, got)
			}
			r.Set(Open)
			atFar.got()
		}
		if got, _ := atFar.got(); got != "abc" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAResetClosesConnectionsAndNewOnesAtOnce(t *testing.T) {
	inBubble(t, Open, func(t *testing.T, p *pipes, r *Relay) {
		near := p.connect()
		atFar, atNear := read(<-p.far), read(near)
		r.Set(Reset)
		if _, err := atNear.got(); err == nil {
			t.Error("the near end is open")
		}
		if _, err := atFar.got(); err == nil {
			t.Error("the far end is open")
		}
		late := read(p.connect())
		if _, err := late.got(); err == nil {
			t.Error("a new connection is open")
		}
		r.Set(Open)
		again := p.connect()
		atFar = read(<-p.far)
		write(again, "back")
		if s, _ := atFar.got(); s != "back" {
			t.Errorf("after heal got %q", s)
		}
	})
}

func TestTheEndOfARelayClosesWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		r := New(p, p.dial, Cut)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		hanging := read(p.connect())
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("got %v", err)
		}
		if _, err := hanging.got(); err == nil {
			t.Error("a connection outlives its relay")
		}
	})
}

func TestARelayOverTCPEndsAndHeals(t *testing.T) {
	var lc net.ListenConfig
	server, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	r := New(lis, func(ctx context.Context) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", server.Addr().String())
	}, Open)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	c, err := d.DialContext(t.Context(), "tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func() { _, _ = io.WriteString(c, "ping") }
	hear := func(within time.Duration) string {
		b := make([]byte, 4)
		_ = c.SetReadDeadline(time.Now().Add(within))
		n, _ := io.ReadFull(c, b)
		return string(b[:n])
	}
	say()
	if got := hear(time.Minute); got != "ping" {
		t.Errorf("open: got %q", got)
	}
	r.Set(Cut)
	say()
	if got := hear(200 * time.Millisecond); got != "" {
		t.Errorf("cut: got %q", got)
	}
	r.Set(Open)
	if got := hear(time.Minute); got != "ping" {
		t.Errorf("healed: got %q", got)
	}
	r.Set(Reset)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAll(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reset: closed with a farewell, or not at all: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
