package hub

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"
)

// greeting is a handshake that reads one byte.
type greeting struct {
	credentials.TransportCredentials
}

func (greeting) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	_, err := c.Read(make([]byte, 1))

	return c, nil, err
}

func TestSilentConnectionsTakeNoPlaceAndEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		gate := newTurnstile(ctx, greeting{}, slog.New(slog.DiscardHandler))
		began := time.Now()
		come := func() (net.Conn, <-chan error) {
			near, far := net.Pipe()
			through := make(chan error, 1)
			go func() {
				_, _, err := gate.ServerHandshake(far)
				through <- err
			}()

			return near, through
		}
		silent := make([]<-chan error, 2*cap(gate.places))
		for i := range silent {
			_, silent[i] = come()
		}
		synctest.Wait()
		agent, through := come()
		if _, err := agent.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := <-through; err != nil {
			t.Errorf("an agent was kept out: %v", err)
		}
		stop()
		for _, s := range silent {
			if err := <-s; err == nil || errors.Is(err, errCrowded) {
				t.Errorf("a silent connection at the end: %v", err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}
