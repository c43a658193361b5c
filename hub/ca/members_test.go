package ca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

const life = 24 * time.Hour

// fleet is a hub's authority, its members, and a port for agents, all real, in memory but for the store.
type fleet struct {
	t         *testing.T
	authority *ca.Authority
	store     *store.Store
	members   *ca.Members
	listener  *bufconn.Listener

	mu       sync.Mutex // guards outcomes
	outcomes []string   // of requests to reattest
}

func (f *fleet) count(outcome string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcomes = append(f.outcomes, outcome)
}

// inFleet runs a test in a bubble with a fleet, which is closed before the bubble ends.
func inFleet(t *testing.T, test func(*testing.T, *fleet)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		f := &fleet{t: t, listener: bufconn.Listen(1 << 20)}
		f.authority = must(ca.Create(filepath.Join(dir, "ca"), "example.org"))(t)
		f.store = must(store.Open(t.Context(), store.Options{Dir: dir, Init: true, Logger: log}))(t)
		f.members = ca.NewMembers(f.authority, f.store, life, f.count, log)
		src := must(f.authority.HubSource(nil, log))(t)
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.ServerTLS(identity.Server{
			Source: src, TrustDomain: "example.org", Check: f.members.Check, AllowAnonymous: true,
		}))))
		f.members.Register(server)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := f.store.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("store: %v", err)
			}
		})
		running.Go(func() {
			if err := server.Serve(f.listener); err != nil {
				t.Errorf("server: %v", err)
			}
		})
		synctest.Wait() // a server that is stopped before it serves says so
		test(t, f)
		server.Stop()
		stop()
		running.Wait()
		if err := f.store.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
}

// pass lets false time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// dial is a client with a certificate, or without one.
func (f *fleet) dial(cert *tls.Certificate) agentv1.EnrolServiceClient {
	f.t.Helper()
	src := identity.NewStaticSource(cert, identity.Pool(f.authority.Roots()...))
	conn := must(grpc.NewClient("passthrough:///hub",
		grpc.WithTransportCredentials(credentials.NewTLS(identity.ClientTLS(identity.Client{Source: src, TrustDomain: "example.org"}))),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.listener.DialContext(ctx) }),
	))(f.t)
	f.t.Cleanup(func() { _ = conn.Close() })

	return agentv1.NewEnrolServiceClient(conn)
}

func (f *fleet) invite(name string) ca.Invitation {
	f.t.Helper()

	return must(f.members.Invite(f.t.Context(), "spiffe://example.org/admin/jo", name))(f.t)
}

func (f *fleet) enrol(token string, key *ecdsa.PrivateKey) (*agentv1.EnrolResponse, error) {
	f.t.Helper()
	csr := must(identity.NewCSR(key))(f.t)

	return f.dial(nil).Enrol(f.t.Context(), agentv1.EnrolRequest_builder{Token: token, Csr: csr}.Build())
}

func (f *fleet) renew(cert *tls.Certificate, key *ecdsa.PrivateKey) (*agentv1.RenewResponse, error) {
	f.t.Helper()
	csr := must(identity.NewCSR(key))(f.t)

	return f.dial(cert).Renew(f.t.Context(), agentv1.RenewRequest_builder{Csr: csr}.Build())
}

func (f *fleet) cluster(uid string) store.Cluster {
	view := f.store.View()
	c, _ := view.Cluster(uid)

	return c
}

func keyPair(t *testing.T, key *ecdsa.PrivateKey, chain [][]byte) *tls.Certificate {
	t.Helper()

	return must(identity.TLSCertificate(key, must(x509.ParseCertificate(chain[0]))(t)))(t)
}

func wantRefusal(t *testing.T, err error, why error) {
	t.Helper()
	if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != why.Error() {
		t.Errorf("got %v, want it refused: %v", err, why)
	}
}

func TestTokenBuysACertificateOfItsClusterOnce(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv, key, other := f.invite("eu-1"), must(identity.NewKey())(t), must(identity.NewKey())(t)
		if !strings.HasPrefix(inv.Token, "wwj1.") || len(inv.Cluster.UID) != 32 || !inv.ExpiresAt.Equal(time.Now().Add(ca.TokenLife)) {
			t.Errorf("invitation %+v", inv)
		}
		first := must(f.enrol(inv.Token, key))(t)
		leaf := must(x509.ParseCertificate(first.GetChain()[0]))(t)
		if want := "spiffe://example.org/cluster/" + inv.Cluster.UID; first.GetSpiffeId() != want || leaf.URIs[0].String() != want {
			t.Errorf("certificate of %s, want %s", leaf.URIs[0], want)
		}
		c := f.cluster(inv.Cluster.UID)
		if c.State != store.ClusterJoined || c.CertSerial != identity.SerialOf(leaf) || c.KeyHash != must(identity.KeyHash(&key.PublicKey))(t) {
			t.Errorf("recorded %+v for serial %s", c, identity.SerialOf(leaf))
		}

		_, err := f.enrol(inv.Token, other)
		wantRefusal(t, err, ca.ErrTokenUsed)

		// The answer may have been lost: the same key asks again, also after the token's own time.
		time.Sleep(ca.TokenLife + time.Minute)
		again := must(f.enrol(inv.Token, key))(t)
		if string(again.GetChain()[0]) != string(first.GetChain()[0]) {
			t.Error("a retry with the same key got another certificate")
		}
		time.Sleep(life)
		_, err = f.enrol(inv.Token, key)
		wantRefusal(t, err, ca.ErrTokenExpired)
	})
}

func TestTokenIsRefusedWhenUnknownExpiredOrReplaced(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		key := must(identity.NewKey())(t)
		for _, token := range []string{"", "wwj1.", "wwj1.AAAA", "wwj1." + strings.Repeat("A", 43), strings.Repeat("A", 43)} {
			_, err := f.enrol(token, key)
			wantRefusal(t, err, ca.ErrTokenUnknown)
		}
		old := f.invite("eu-1")
		newer := f.invite("eu-1")
		if old.Cluster.UID != newer.Cluster.UID {
			t.Error("a second invitation made a second cluster")
		}
		_, err := f.enrol(old.Token, key)
		wantRefusal(t, err, ca.ErrTokenVoid)
		time.Sleep(ca.TokenLife)
		_, err = f.enrol(newer.Token, key)
		wantRefusal(t, err, ca.ErrTokenExpired)
		if got := f.cluster(newer.Cluster.UID).State; got != store.ClusterInvited {
			t.Errorf("cluster is %s after refusals only", got)
		}
	})
}

func TestOnlyOneOfManyKeysWinsAToken(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv := f.invite("eu-1")
		const n = 8
		won := make(chan bool, n)
		var asking sync.WaitGroup
		for range n {
			key := must(identity.NewKey())(t)
			csr := must(identity.NewCSR(key))(t)
			client := f.dial(nil)
			asking.Go(func() {
				_, err := client.Enrol(t.Context(), agentv1.EnrolRequest_builder{Token: inv.Token, Csr: csr}.Build())
				won <- err == nil
			})
		}
		asking.Wait()
		close(won)
		winners := 0
		for w := range won {
			if w {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%d keys got a certificate, want 1", winners)
		}
	})
}

func TestTokenIsNowhereOnDisk(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv := f.invite("eu-1")
		must(f.enrol(inv.Token, must(identity.NewKey())(t)))(t)
		view := f.store.View()
		secret := strings.TrimPrefix(inv.Token, "wwj1.")
		for _, tok := range view.TokensOf(inv.Cluster.UID) {
			if strings.Contains(tok.Hash, secret) || len(tok.Hash) != 64 {
				t.Errorf("token kept as %q", tok.Hash)
			}
		}
		for _, a := range must(f.store.AuditTail(100))(t) {
			if strings.Contains(a.Detail+a.Object+a.Who, secret) {
				t.Errorf("token in the audit: %+v", a)
			}
		}
	})
}

func TestRenewalIsForTheCallersOwnCluster(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv, key := f.invite("eu-1"), must(identity.NewKey())(t)
		first := must(f.enrol(inv.Token, key))(t)
		cert := keyPair(t, key, first.GetChain())
		time.Sleep(life / 2)
		next := must(identity.NewKey())(t)
		resp := must(f.renew(cert, next))(t)
		leaf := must(x509.ParseCertificate(resp.GetChain()[0]))(t)
		if got := must(identity.IDOf(leaf))(t); got.Name() != inv.Cluster.UID || !leaf.NotAfter.Equal(time.Now().Add(life)) {
			t.Errorf("renewed as %s until %s", got, leaf.NotAfter)
		}
		if c := f.cluster(inv.Cluster.UID); c.CertSerial != identity.SerialOf(leaf) || c.KeyHash != must(identity.KeyHash(&key.PublicKey))(t) {
			t.Errorf("recorded %+v, want the new serial and the enrolment key", c)
		}
		// The older one is good to its end: its holder may not have got the answer. But not for a flood of writes.
		if _, err := f.renew(cert, next); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("again at once: %v, want ResourceExhausted", err)
		}
		time.Sleep(time.Minute)
		must(f.renew(cert, next))(t)
		time.Sleep(life / 2)
		if _, err := f.renew(cert, next); err == nil {
			t.Error("renewed with an ended certificate")
		}
		if _, err := f.renew(nil, next); status.Code(err) != codes.Unauthenticated {
			t.Errorf("renewed without a certificate: %v", err)
		}
	})
}

func TestRemovedClusterIsKeptOutAndItsNameIsFree(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv, key := f.invite("eu-1"), must(identity.NewKey())(t)
		cert := keyPair(t, key, must(f.enrol(inv.Token, key))(t).GetChain())
		peer := must(identity.PeerOfCertificate(cert.Leaf))(t)
		if err := f.members.Check(peer); err != nil {
			t.Errorf("a member is refused: %v", err)
		}
		if err := f.members.Remove(t.Context(), "jo", "eu-1", false); err != nil {
			t.Fatal(err)
		}
		if err := f.members.Check(peer); !errors.Is(err, ca.ErrBanned) {
			t.Errorf("check: %v, want banned", err)
		}
		time.Sleep(time.Hour)
		if _, err := f.renew(cert, key); err == nil {
			t.Error("a removed cluster renewed its certificate")
		}
		_, err := f.enrol(inv.Token, key)
		wantRefusal(t, err, ca.ErrBanned)
		if again := f.invite("eu-1"); again.Cluster.UID == inv.Cluster.UID {
			t.Error("the uid of a removed cluster was used again")
		}
		if err := f.members.Remove(t.Context(), "jo", "eu-9", true); !errors.Is(err, ca.ErrNotFound) {
			t.Errorf("removing an unknown cluster: %v", err)
		}
	})
}

func TestClusterWithJobsIsRemovedByForceOnly(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv := f.invite("eu-1")
		_, err := f.store.Write(t.Context(), store.Audit{Who: "t", Verb: "t"}, func(txn *store.Txn) error {
			txn.PutAssignment(flink.Assignment{JobUID: "j", ClusterUID: inv.Cluster.UID, Term: 1})

			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.members.Remove(t.Context(), "jo", "eu-1", false); !errors.Is(err, ca.ErrInUse) {
			t.Errorf("got %v, want in use", err)
		}
		if f.cluster(inv.Cluster.UID).Banned {
			t.Error("a refused removal banned the cluster")
		}
		if err := f.members.Remove(t.Context(), "jo", "eu-1", true); err != nil || !f.cluster(inv.Cluster.UID).Banned {
			t.Errorf("by force: %v, banned %v", err, f.cluster(inv.Cluster.UID).Banned)
		}
	})
}

func TestJoinedClusterIsInvitedAgainOnlyWhenItsCertificateEnded(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		inv, key := f.invite("eu-1"), must(identity.NewKey())(t)
		must(f.enrol(inv.Token, key))(t)
		if _, err := f.members.Invite(t.Context(), "jo", "eu-1"); !errors.Is(err, ca.ErrJoined) {
			t.Errorf("got %v, want joined", err)
		}
		time.Sleep(life)
		again := f.invite("eu-1")
		if again.Cluster.UID != inv.Cluster.UID {
			t.Error("the way back is under another uid")
		}
		must(f.enrol(again.Token, key))(t)
	})
}

func TestClusterNamesAreChecked(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		for _, name := range []string{"", "EU", "1eu", "eu-", "eu_1", "eu/1", strings.Repeat("a", 46)} {
			if _, err := f.members.Invite(t.Context(), "jo", name); !errors.Is(err, ca.ErrName) {
				t.Errorf("%q: %v, want it refused", name, err)
			}
		}
		f.invite(strings.Repeat("a", 45))
	})
}
