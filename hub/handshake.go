package hub

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

const (
	// handshakesPerCore bounds how many handshakes are computed at once: more would only make each of them late.
	handshakesPerCore = 4
	// maxWaiting bounds how many connections may wait for their turn; further ones are closed.
	maxWaiting = 1024
	// handshakeLimit is how long one may take from its turn on.
	handshakeLimit = 5 * time.Second
)

var errCrowded = errors.New("too many handshakes are waiting")

// turnstile lets a bounded number of TLS handshakes through at once. A connection takes a place only after its first
// byte has come, so that silent ones cannot keep the others out.
type turnstile struct {
	credentials.TransportCredentials
	ctx     context.Context // ends what has not come through yet
	places  chan struct{}
	waiting *atomic.Int64
	log     *slog.Logger
}

// newTurnstile lets through until ctx ends; it then closes the connections whose handshake is not over, on which a server
// that stops would wait.
func newTurnstile(ctx context.Context, creds credentials.TransportCredentials, log *slog.Logger) turnstile {
	return turnstile{
		TransportCredentials: creds, log: log, ctx: ctx, waiting: new(atomic.Int64),
		places: make(chan struct{}, handshakesPerCore*runtime.GOMAXPROCS(0)),
	}
}

// ServerHandshake implements credentials.TransportCredentials. The caller has put a deadline on the connection.
func (t turnstile) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	defer context.AfterFunc(t.ctx, func() { raw.Close() })()
	if t.waiting.Add(1) > maxWaiting {
		t.waiting.Add(-1)

		return nil, nil, errCrowded
	}
	first, err := peek(raw)
	if err != nil {
		t.waiting.Add(-1)

		return nil, nil, err
	}
	t.places <- struct{}{} // handshakeLimit bounds how long that takes
	t.waiting.Add(-1)
	defer func() { <-t.places }()
	if err := raw.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return nil, nil, err
	}
	conn, info, err := t.TransportCredentials.ServerHandshake(first)
	if err != nil {
		t.log.Info("handshake refused", telemetry.KeyAddr, raw.RemoteAddr().String(), telemetry.Err(err))
	}

	return conn, info, err
}

// Clone implements credentials.TransportCredentials; the places are shared.
func (t turnstile) Clone() credentials.TransportCredentials {
	t.TransportCredentials = t.TransportCredentials.Clone()

	return t
}

// peeked gives back the byte that was read ahead.
type peeked struct {
	net.Conn
	first  byte
	unread bool
}

func peek(c net.Conn) (*peeked, error) {
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil {
		return nil, err
	}

	return &peeked{Conn: c, first: b[0], unread: true}, nil
}

// Read implements net.Conn. It has one reader at a time, as a TLS connection does.
func (p *peeked) Read(b []byte) (int, error) {
	if p.unread && len(b) > 0 {
		b[0], p.unread = p.first, false

		return 1, nil
	}

	return p.Conn.Read(b)
}
