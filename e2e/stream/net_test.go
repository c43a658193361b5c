package stream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// wires is the network between agents and the hub: in memory, and each agent's part of it can be cut.
type wires struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	cut   map[string]chan struct{} // cluster → closed when its cut heals
	lives map[string][]int         // cluster → after how many writes its next connections break
	all   map[string][]*pipe       // open connections by cluster
}

func newWires() *wires {
	return &wires{
		accept: make(chan net.Conn), closed: make(chan struct{}),
		cut: map[string]chan struct{}{}, lives: map[string][]int{}, all: map[string][]*pipe{},
	}
}

// Accept implements net.Listener.
func (w *wires) Accept() (net.Conn, error) {
	select {
	case c := <-w.accept:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (w *wires) Close() error {
	w.once.Do(func() { close(w.closed) })

	return nil
}

// Addr implements net.Listener.
func (w *wires) Addr() net.Addr { return name("hub") }

type name string

func (name) Network() string  { return "memory" }
func (n name) String() string { return string(n) }

// dial connects a cluster to whatever listens. While the cluster is cut it hangs.
func (w *wires) dial(cluster string, listener func() *wires) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		w.mu.Lock()
		healed := w.cut[cluster]
		w.mu.Unlock()
		if healed != nil {
			select {
			case <-healed:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		agent, hub := newPipe(cluster)
		w.mu.Lock()
		if next := w.lives[cluster]; len(next) > 0 {
			agent.left, hub.left = &next[0], &next[0]
			w.lives[cluster] = next[1:]
		}
		w.all[cluster] = append(w.all[cluster], agent, hub)
		w.mu.Unlock()
		to := listener()
		if to == nil {
			return nil, errors.New("connection refused")
		}
		select {
		case to.accept <- hub:
			return agent, nil
		case <-to.closed:
			return nil, errors.New("connection refused")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// blackhole makes everything between cluster and hub vanish: nothing is closed, nothing arrives any more.
func (w *wires) blackhole(cluster string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[cluster] = make(chan struct{})
	for _, c := range w.all[cluster] {
		c.drop()
	}
}

// heal lets new connections through; those that stood at the cut never come back.
func (w *wires) heal(cluster string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.cut[cluster])
	delete(w.cut, cluster)
}

// reset closes all connections of a cluster.
func (w *wires) reset(cluster string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all[cluster] {
		_ = c.Close()
	}
	w.all[cluster] = nil
}

// pipe is one end of a connection.
type pipe struct {
	net.Conn
	cluster string
	life    *sync.Mutex // of both ends, guards what follows
	dropped bool
	left    *int // writes of both ends until the connection breaks; nil: it does not
}

func newPipe(cluster string) (agent, hub *pipe) {
	a, h := net.Pipe()
	life := new(sync.Mutex)

	return &pipe{Conn: a, cluster: cluster, life: life}, &pipe{Conn: h, cluster: cluster, life: life}
}

func (c *pipe) drop() {
	c.life.Lock()
	defer c.life.Unlock()
	c.dropped = true
}

// Write vanishes while the connection is in a black hole, and breaks the connection when its time has come.
func (c *pipe) Write(b []byte) (int, error) {
	c.life.Lock()
	dropped, over := c.dropped, false
	if c.left != nil {
		*c.left--
		over = *c.left < 0
	}
	c.life.Unlock()
	switch {
	case over:
		return 0, errors.Join(net.ErrClosed, c.Close())
	case dropped:
		return len(b), nil
	}

	return c.Conn.Write(b)
}

// RemoteAddr tells the hub who is there: what the certificate says in real life.
func (c *pipe) RemoteAddr() net.Addr { return name(c.cluster) }

// SetDeadline is ignored: net.Pipe would end a write that waits for a slow reader.
func (c *pipe) SetDeadline(time.Time) error { return nil }
