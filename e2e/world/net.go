package world

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// buffer is what one direction of a connection holds, in bytes.
const buffer = 256 << 10

// Port accepts in-memory connections. A hub that comes back makes a new one at the same Port.
type Port struct {
	mu  sync.Mutex // guards lis
	lis *bufconn.Listener
}

// Listen opens the port; connections dialled before are refused.
func (p *Port) Listen() net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lis = bufconn.Listen(buffer)
	return p.lis
}

func (p *Port) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	lis := p.lis
	p.mu.Unlock()
	if lis == nil {
		return nil, errors.New("connection refused")
	}
	return lis.DialContext(ctx)
}

// Link is the way of one agent to the port. Cut, it is a black hole: open
// connections stall in both directions and new ones hang.
type Link struct {
	port *Port

	mu    sync.Mutex // guards what follows
	open  chan struct{}
	read  int64 // bytes that the agent has read
	dials int
	stuck bool // the agent reads nothing, though the link is there
	flow  chan struct{}
}

// NewLink makes an open link.
func NewLink(p *Port) *Link {
	l := &Link{port: p, open: make(chan struct{}), flow: make(chan struct{})}
	close(l.open)
	close(l.flow)
	return l
}

// Cut makes the link a black hole.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// Heal lets bytes flow again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.open)
}

// StopReading makes the agent read nothing more; what it writes still flows.
func (l *Link) StopReading() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow, l.stuck = make(chan struct{}), true
}

// ReadAgain ends StopReading.
func (l *Link) ReadAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		close(l.flow)
		l.stuck = false
	}
}

// Dials is how many connections the agent has opened.
func (l *Link) Dials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials
}

// Dial is the agent's way to the hub.
func (l *Link) Dial(ctx context.Context, _ string) (net.Conn, error) {
	if err := l.pass(ctx.Done(), false); err != nil {
		return nil, context.Cause(ctx)
	}
	c, err := l.port.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.dials++
	l.mu.Unlock()
	return &conn{Conn: c, link: l, closed: make(chan struct{})}, nil
}

var errClosed = errors.New("closed while the link was cut")

// pass waits until the link is open, for reading also until the agent reads.
func (l *Link) pass(stop <-chan struct{}, reading bool) error {
	for {
		l.mu.Lock()
		open, flow := l.open, l.flow
		l.mu.Unlock()
		if !reading {
			flow = open
		}
		select {
		case <-open:
		case <-stop:
			return errClosed
		}
		select {
		case <-flow:
		case <-stop:
			return errClosed
		}
		l.mu.Lock()
		same := open == l.open && (!reading || flow == l.flow)
		l.mu.Unlock()
		if same {
			return nil
		}
	}
}

// conn is the agent's end of a connection.
type conn struct {
	net.Conn
	link   *Link
	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex // guards deadline
	deadline time.Time
}

func (c *conn) Read(b []byte) (int, error) {
	if err := c.wait(true); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if werr := c.wait(true); werr != nil { // what came while the link was cut is not seen before it heals
		return 0, werr
	}
	c.link.mu.Lock()
	c.link.read += int64(n)
	c.link.mu.Unlock()
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.wait(false); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// wait is pass with the connection's deadline.
func (c *conn) wait(reading bool) error {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	if deadline.IsZero() {
		return c.link.pass(c.closed, reading)
	}
	stop := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(stop) }) }
	t := time.AfterFunc(time.Until(deadline), end)
	defer t.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-c.closed:
			end()
		case <-done:
		}
	}()
	if err := c.link.pass(stop, reading); err != nil {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
