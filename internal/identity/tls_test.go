package identity_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
)

const domain = "ww.example"

// handshake joins both ends over a buffered pipe and passes one byte each way, so that the server's verdict, which
// TLS 1.3 gives after the client's handshake, is seen. It returns what each end says.
func handshake(t *testing.T, server, client *tls.Config) (atServer, atClient *tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	lis := bufconn.Listen(1 << 16)
	defer lis.Close()
	accepted := make(chan *tls.Conn, 1)
	done := make(chan error, 1)
	go func() {
		raw, err := lis.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		s := tls.Server(raw, server)
		accepted <- s
		if _, err = s.Read(make([]byte, 1)); err == nil {
			_, err = s.Write([]byte{1})
		}
		done <- err
	}()
	raw, err := lis.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c, s := tls.Client(raw, client), <-accepted
	if _, clientErr = c.Write([]byte{1}); clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	_ = raw.Close()
	serverErr = <-done
	ss, cs := s.ConnectionState(), c.ConnectionState()

	return &ss, &cs, serverErr, clientErr
}

func accept(identity.Peer) error { return nil }

func TestBothEndsKnowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.New(t, domain)
		var seen []identity.Peer
		server := identity.ServerTLS(identity.Server{
			Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain,
			Check: func(p identity.Peer) error { seen = append(seen, p); return nil },
		})
		client := identity.ClientTLS(identity.Client{Source: ca.Source(ca.Cluster("abc", time.Hour)), TrustDomain: domain})
		ss, cs, serverErr, clientErr := handshake(t, server, client)
		if serverErr != nil || clientErr != nil {
			t.Fatalf("server: %v, client: %v", serverErr, clientErr)
		}
		atServer, err := identity.PeerOf(ss)
		if err != nil || atServer.ID.Name() != "abc" || atServer.ID.Role() != identity.RoleCluster {
			t.Errorf("server sees %+v, %v", atServer, err)
		}
		if want := time.Now().Add(time.Hour).UTC(); !atServer.NotAfter.Equal(want) {
			t.Errorf("NotAfter %s, want %s", atServer.NotAfter, want)
		}
		if !slices.Equal(seen, []identity.Peer{atServer}) {
			t.Errorf("check saw %v, want %v once", seen, atServer)
		}
		if atClient, err := identity.PeerOf(cs); err != nil || atClient.ID.Role() != identity.RoleHub {
			t.Errorf("client sees %+v, %v", atClient, err)
		}
		if ss.Version != tls.VersionTLS13 || ss.NegotiatedProtocol != "h2" || ss.CurveID != tls.X25519 {
			t.Errorf("got %s %q %s, want TLS 1.3, h2, X25519", tls.VersionName(ss.Version), ss.NegotiatedProtocol, ss.CurveID)
		}
	})
}

func TestServerRefuses(t *testing.T) {
	banned := errors.New("banned")
	for name, tc := range map[string]struct {
		source func(t *testing.T, ca *identitytest.Authority) identity.Source
		check  func(identity.Peer) error
		want   error
	}{
		"another authority's certificate of the same name": {
			func(t *testing.T, ca *identitytest.Authority) identity.Source {
				t.Helper()
				return ca.Source(identitytest.New(t, domain).Cluster("abc", time.Hour))
			}, accept, identity.ErrUntrusted,
		},
		"its own authority's certificate of another trust domain": {
			func(t *testing.T, ca *identitytest.Authority) identity.Source {
				t.Helper()
				id, err := identity.ClusterID("ww.example.com", "abc")
				if err != nil {
					t.Fatal(err)
				}
				return ca.Source(ca.Issue(id, time.Hour))
			}, accept, identity.ErrUntrusted,
		},
		"an expired certificate": {
			func(_ *testing.T, ca *identitytest.Authority) identity.Source {
				return ca.Source(ca.Cluster("abc", -time.Second))
			}, accept, identity.ErrUntrusted,
		},
		"an authority's own certificate": {
			func(t *testing.T, ca *identitytest.Authority) identity.Source {
				t.Helper()
				cert := ca.Cluster("abc", time.Hour)
				cert.Certificate = cert.Certificate[1:]
				return ca.Source(cert)
			}, accept, nil,
		},
		"whom the check refuses": {
			func(_ *testing.T, ca *identitytest.Authority) identity.Source {
				return ca.Source(ca.Cluster("abc", time.Hour))
			}, func(identity.Peer) error { return banned }, banned,
		},
		"nobody's certificate": {
			func(_ *testing.T, ca *identitytest.Authority) identity.Source { return ca.Source(nil) }, accept, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := identitytest.New(t, domain)
				server := identity.ServerTLS(identity.Server{Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain, Check: tc.check})
				client := identity.ClientTLS(identity.Client{Source: tc.source(t, ca), TrustDomain: domain})
				_, _, serverErr, clientErr := handshake(t, server, client)
				if serverErr == nil || clientErr == nil {
					t.Fatalf("server: %v, client: %v; want both refused", serverErr, clientErr)
				}
				if tc.want != nil && !errors.Is(serverErr, tc.want) {
					t.Errorf("server: %v, want %v", serverErr, tc.want)
				}
			})
		})
	}
}

func TestClientRefusesWhoIsNotTheHub(t *testing.T) {
	for name, issue := range map[string]func(*identitytest.Authority) *tls.Certificate{
		"a cluster": func(ca *identitytest.Authority) *tls.Certificate { return ca.Cluster("hub", time.Hour) },
		"an admin":  func(ca *identitytest.Authority) *tls.Certificate { return ca.Admin("hub", time.Hour) },
		"a hub that expired": func(ca *identitytest.Authority) *tls.Certificate {
			return ca.Hub(-time.Second)
		},
		"a hub of another domain": func(ca *identitytest.Authority) *tls.Certificate {
			id, _ := identity.HubID("ww.example.com")
			return ca.Issue(id, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := identitytest.New(t, domain)
				server := identity.ServerTLS(identity.Server{Source: ca.Source(issue(ca)), TrustDomain: domain, Check: accept})
				client := identity.ClientTLS(identity.Client{Source: ca.Source(ca.Cluster("abc", time.Hour)), TrustDomain: domain})
				if _, _, _, err := handshake(t, server, client); !errors.Is(err, identity.ErrUntrusted) {
					t.Errorf("got %v, want ErrUntrusted", err)
				}
			})
		})
	}
}

func TestAnonymousCallersPassOnlyWhereAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.New(t, domain)
		calls := 0
		cfg := identity.Server{
			Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain, AllowAnonymous: true,
			Check: func(identity.Peer) error { calls++; return errors.New("banned") },
		}
		anonymous := identity.ClientTLS(identity.Client{Source: ca.Source(nil), TrustDomain: domain})
		ss, _, serverErr, clientErr := handshake(t, identity.ServerTLS(cfg), anonymous)
		if serverErr != nil || clientErr != nil || calls != 0 {
			t.Fatalf("server: %v, client: %v, checks: %d", serverErr, clientErr, calls)
		}
		if _, err := identity.PeerOf(ss); !errors.Is(err, identity.ErrAnonymous) {
			t.Errorf("peer: %v, want ErrAnonymous", err)
		}
		named := identity.ClientTLS(identity.Client{Source: ca.Source(ca.Cluster("abc", time.Hour)), TrustDomain: domain})
		if _, _, err, _ := handshake(t, identity.ServerTLS(cfg), named); err == nil || calls != 1 {
			t.Errorf("a shown certificate must be checked also here: %v, checks: %d", err, calls)
		}
	})
}

func TestPinStandsInForRootsBeforeJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := identitytest.New(t, domain), identitytest.New(t, domain)
		server := identity.ServerTLS(identity.Server{
			Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain, AllowAnonymous: true, Check: accept,
		})
		dial := func(pin string) error {
			_, _, _, err := handshake(t, server, identity.ClientTLS(identity.Client{Source: new(identity.StaticSource), TrustDomain: domain, Pin: pin}))
			return err
		}
		if err := dial(identity.Pin(ca.Root)); err != nil {
			t.Errorf("right pin: %v", err)
		}
		for _, pin := range []string{"", "sha256:00", identity.Pin(other.Root), strings.TrimPrefix(identity.Pin(ca.Root), "sha256:")} {
			if err := dial(pin); err == nil {
				t.Errorf("pin %q was accepted", pin)
			}
		}
	})
}

// TestNothingIsResumed dials again and again with one session cache: a ticket would let a client skip the check.
func TestNothingIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.New(t, domain)
		checks, ban := 0, error(nil)
		server := identity.ServerTLS(identity.Server{
			Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain,
			Check: func(identity.Peer) error { checks++; return ban },
		})
		client := identity.ClientTLS(identity.Client{Source: ca.Source(ca.Cluster("abc", time.Hour)), TrustDomain: domain})
		client.SessionTicketsDisabled = false
		client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		client.ServerName = "hub"
		for i := range 3 {
			ss, _, serverErr, clientErr := handshake(t, server, client)
			if serverErr != nil || clientErr != nil || ss.DidResume {
				t.Fatalf("dial %d: server: %v, client: %v, resumed: %v", i, serverErr, clientErr, ss.DidResume)
			}
		}
		ban = errors.New("banned")
		if _, _, err, _ := handshake(t, server, client); !errors.Is(err, ban) || checks != 4 {
			t.Errorf("after the ban: %v, %d checks; want the ban and 4", err, checks)
		}
	})
}

func TestRotationIsSeenByTheNextHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := identitytest.New(t, domain), identitytest.New(t, domain)
		hub, agent := old.Source(old.Hub(time.Hour)), old.Source(old.Cluster("abc", time.Hour))
		server := identity.ServerTLS(identity.Server{Source: hub, TrustDomain: domain, Check: accept})
		client := identity.ClientTLS(identity.Client{Source: agent, TrustDomain: domain})
		if _, _, _, err := handshake(t, server, client); err != nil {
			t.Fatal(err)
		}
		hub.Set(next.Hub(time.Hour), identity.Pool(next.Root))
		if _, _, _, err := handshake(t, server, client); err == nil {
			t.Error("the agent accepted a root it was not told")
		}
		agent.Set(next.Cluster("abc", time.Hour), identity.Pool(next.Root))
		if _, _, _, err := handshake(t, server, client); err != nil {
			t.Errorf("after both rotated: %v", err)
		}
		time.Sleep(2 * time.Hour) // of the bubble
		if _, _, _, err := handshake(t, server, client); err == nil {
			t.Error("a certificate outlived its end")
		}
	})
}

func TestGRPCOverBufconnInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.New(t, domain)
		var name atomic.Value
		srv := grpc.NewServer(
			grpc.Creds(credentials.NewTLS(identity.ServerTLS(identity.Server{
				Source: ca.Source(ca.Hub(time.Hour)), TrustDomain: domain, Check: accept,
			}))),
			grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				p, _ := peer.FromContext(ctx)
				info, _ := p.AuthInfo.(credentials.TLSInfo)
				who, err := identity.PeerOf(&info.State)
				name.Store(who.ID.Name())
				if err != nil {
					return nil, err
				}
				return next(ctx, req)
			}),
		)
		grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
		lis := bufconn.Listen(1 << 16)
		go func() { _ = srv.Serve(lis) }()
		conn, err := grpc.NewClient("passthrough:///hub.example:443",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
			grpc.WithTransportCredentials(credentials.NewTLS(identity.ClientTLS(identity.Client{
				Source: ca.Source(ca.Cluster("abc", time.Hour)), TrustDomain: domain,
			}))))
		if err != nil {
			t.Fatal(err)
		}
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
		if err != nil || name.Load() != "abc" {
			t.Errorf("got %v from peer %v, want abc", err, name.Load())
		}
		_ = conn.Close()
		srv.Stop()
	})
}
