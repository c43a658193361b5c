package apiserver

import (
	"context"
	"net"
	"testing"
)

func TestAServerWhosePortIsTakenMeanwhileStartsAtAnother(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	chosen := 0
	s, err := Start(t.Context(), Options{ports: func(ctx context.Context, n int) ([]int, error) {
		ports, err := freePorts(ctx, n)
		if chosen++; err == nil && chosen == 1 {
			ports[n-1] = taken.Addr().(*net.TCPAddr).Port // the API server's
		}
		return ports, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if chosen != 2 {
		t.Errorf("ports were chosen %d times", chosen)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
