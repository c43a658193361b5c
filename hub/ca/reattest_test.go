package ca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// member is a cluster with the keys that its agent has.
type member struct {
	cluster     store.Cluster
	enrolment   *ecdsa.PrivateKey
	certificate *tls.Certificate
	key         *ecdsa.PrivateKey // of the certificate
}

// line is one TLS connection to the hub on which no certificate is shown. Its end of it is known, as it is to whoever
// makes a proof.
type line struct {
	enrol agentv1.EnrolServiceClient
	state *tls.ConnectionState
}

// line opens a connection. What is signed for one must be worth nothing on another.
func (f *fleet) line() line {
	f.t.Helper()
	src := identity.NewStaticSource(nil, identity.Pool(f.authority.Roots()...))
	raw := must(f.listener.DialContext(f.t.Context()))(f.t)
	c := tls.Client(raw, identity.ClientTLS(identity.Client{Source: src, TrustDomain: "example.org"}))
	if err := c.HandshakeContext(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	state := c.ConnectionState()
	conn := must(grpc.NewClient("passthrough:///hub", grpc.WithTransportCredentials(done{}), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return c, nil }),
	))(f.t)
	f.t.Cleanup(func() { _ = conn.Close() })

	return line{agentv1.NewEnrolServiceClient(conn), &state}
}

// done is the credentials of a connection whose handshake is over.
type done struct {
	credentials.TransportCredentials
}

func (done) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (done) Info() credentials.ProtocolInfo            { return credentials.ProtocolInfo{SecurityProtocol: "tls"} }
func (d done) Clone() credentials.TransportCredentials { return d }

// with is a call's context that carries a signature.
func with(ctx context.Context, signature []byte) context.Context {
	return metadata.AppendToOutgoingContext(ctx, identity.ProofKey, string(signature))
}

func hubID(t *testing.T) identity.ID {
	t.Helper()

	return must(identity.HubID("example.org"))(t)
}

// join makes a member that has an enrolment key on record.
func (f *fleet) join(name string) member {
	f.t.Helper()
	m := member{enrolment: must(identity.NewKey())(f.t), key: must(identity.NewKey())(f.t)}
	resp := must(f.enrolWith(f.invite(name).Token, m.key, m.enrolment))(f.t)
	m.certificate = keyPair(f.t, m.key, resp.GetChain())
	m.cluster = f.cluster(must(identity.IDOf(m.certificate.Leaf))(f.t).Name())

	return m
}

func (f *fleet) enrolWith(token string, key, enrolment *ecdsa.PrivateKey) (*agentv1.EnrolResponse, error) {
	f.t.Helper()
	l, csr := f.line(), must(identity.NewCSR(key))(f.t)
	signature := must(identity.Claim{Purpose: identity.ToEnrol, Hub: hubID(f.t), Subject: token, CSR: csr}.Sign(l.state, enrolment))(f.t)

	return l.enrol.Enrol(with(f.t.Context(), signature), agentv1.EnrolRequest_builder{
		Token: token, Csr: csr, EnrolmentKey: must(identity.EncodePublicKey(&enrolment.PublicKey))(f.t),
	}.Build())
}

// plea is a request to reattest in all its parts, right until a test bends it.
type plea struct {
	claim     identity.Claim
	signedBy  *ecdsa.PrivateKey
	req       *agentv1.ReattestRequest
	on, over  line // signed on one, sent over the other
	signature []byte
}

func (f *fleet) plea(m member) *plea {
	f.t.Helper()
	id := must(identity.ClusterID("example.org", m.cluster.UID))(f.t).String()
	csr := must(identity.NewCSR(must(identity.NewKey())(f.t)))(f.t)
	l := f.line()

	return &plea{
		claim: identity.Claim{Purpose: identity.ToReattest, Hub: hubID(f.t), Subject: id, Site: m.cluster.SiteUID, CSR: csr},
		req: agentv1.ReattestRequest_builder{
			SpiffeId: id, Csr: csr, SiteUid: m.cluster.SiteUID, EnrolmentKey: must(identity.EncodePublicKey(&m.enrolment.PublicKey))(f.t),
		}.Build(),
		signedBy: m.enrolment, on: l, over: l,
	}
}

func (f *fleet) send(p *plea) (*agentv1.ReattestResponse, error) {
	f.t.Helper()
	if p.signature == nil {
		p.signature = must(p.claim.Sign(p.on.state, p.signedBy))(f.t)
	}

	return p.over.enrol.Reattest(with(f.t.Context(), p.signature), p.req)
}

func (f *fleet) put(change func(*store.Cluster), uid string) {
	f.t.Helper()
	_, err := f.store.Write(f.t.Context(), store.Audit{Who: "t", Verb: "t"}, func(txn *store.Txn) error {
		c, _ := txn.Cluster(uid)
		change(&c)
		txn.PutCluster(c)

		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestTheEnrolmentKeyBuysACertificateAfterTheEnd(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		if want := must(identity.KeyHash(&m.enrolment.PublicKey))(t); m.cluster.EnrolmentKey != want {
			t.Errorf("on record %q, want %q", m.cluster.EnrolmentKey, want)
		}
		pass(3 * life)
		p := f.plea(m)
		resp := must(f.send(p))(t)
		leaf := must(x509.ParseCertificate(resp.GetChain()[0]))(t)
		want := must(identity.ParseCSR(p.req.GetCsr()))(t)
		if got := must(identity.IDOf(leaf))(t); got.Name() != m.cluster.UID || !want.Equal(leaf.PublicKey) || !leaf.NotAfter.Equal(time.Now().Add(life)) {
			t.Errorf("certificate of %s until %s, of the key of the request: %v", got, leaf.NotAfter, want.Equal(leaf.PublicKey))
		}
		if c := f.cluster(m.cluster.UID); c.CertSerial != identity.SerialOf(leaf) || c.EnrolmentKey != m.cluster.EnrolmentKey || c.State != store.ClusterJoined {
			t.Errorf("on record %+v", c)
		}
		last := must(f.store.AuditTail(1))(t)[0]
		if last.Verb != "cluster.reattest" || last.Object != m.cluster.UID || last.Detail != identity.SerialOf(leaf) || !strings.HasSuffix(last.Who, m.cluster.UID) {
			t.Errorf("audit %+v", last)
		}
		// Each certificate is a write: not at once again, by the same or any other proof.
		if _, err := f.send(f.plea(m)); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("again at once: %v, want ResourceExhausted", err)
		}
		pass(time.Minute)
		must(f.send(f.plea(m)))(t)
		if want := []string{"given", "too_soon", "given"}; !slices.Equal(f.outcomes, want) {
			t.Errorf("counted %v, want %v", f.outcomes, want)
		}
	})
}

// TestAStrangerLearnsNothing: whatever is wrong with a proof, and whether or not the cluster that it names is there, the
// answer is the same to the letter, nothing is written, and the true agent gets its certificate afterwards.
func TestAStrangerLearnsNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m, other := f.join("eu-1"), f.join("eu-2")
		before := f.invite("eu-3") // joined before there were enrolment keys
		old := member{key: must(identity.NewKey())(t), enrolment: must(identity.NewKey())(t)}
		must(f.enrol(before.Token, old.key))(t)
		old.cluster = f.cluster(before.Cluster.UID)
		invited := member{cluster: f.invite("eu-4").Cluster, enrolment: old.enrolment}
		f.put(func(c *store.Cluster) { c.SiteUID = "here" }, m.cluster.UID)
		m.cluster = f.cluster(m.cluster.UID)
		pass(3 * life)
		id := func(m member) string { return must(identity.ClusterID("example.org", m.cluster.UID))(t).String() }
		public := func(k *ecdsa.PrivateKey) []byte { return must(identity.EncodePublicKey(&k.PublicKey))(t) }
		thief := must(identity.NewKey())(t)
		head := f.store.View()
		start := head.Head()

		for name, bend := range map[string]func(*plea){
			"no signature":                                   func(p *plea) { p.signature = []byte{} },
			"a signature of noise":                           func(p *plea) { p.signature = []byte("noise") },
			"the key of the stolen certificate signs":        func(p *plea) { p.signedBy = m.key },
			"the key of the stolen certificate is shown too": func(p *plea) { p.signedBy = m.key; p.req.SetEnrolmentKey(public(m.key)) },
			"a key of the thief's own":                       func(p *plea) { p.signedBy = thief; p.req.SetEnrolmentKey(public(thief)) },
			"another cluster's key": func(p *plea) {
				p.signedBy = other.enrolment
				p.req.SetEnrolmentKey(public(other.enrolment))
			},
			"another cluster's name in the request alone": func(p *plea) { p.req.SetSpiffeId(id(other)) },
			"another cluster's name, signed":              func(p *plea) { p.req.SetSpiffeId(id(other)); p.claim.Subject = id(other) },
			"a cluster that never was": func(p *plea) {
				p.claim.Subject = "spiffe://example.org/cluster/none"
				p.req.SetSpiffeId(p.claim.Subject)
			},
			"a cluster of another trust domain": func(p *plea) {
				p.claim.Subject = "spiffe://example.com/cluster/" + m.cluster.UID
				p.req.SetSpiffeId(p.claim.Subject)
			},
			"an admin of that name": func(p *plea) {
				p.claim.Subject = "spiffe://example.org/admin/" + m.cluster.UID
				p.req.SetSpiffeId(p.claim.Subject)
			},
			"a request for another key than was signed": func(p *plea) { p.req.SetCsr(must(identity.NewCSR(thief))(t)) },
			"another site than was signed":              func(p *plea) { p.req.SetSiteUid("elsewhere") },
			"signed to enrol":                           func(p *plea) { p.claim.Purpose = identity.ToEnrol },
			"signed for another hub":                    func(p *plea) { p.claim.Hub = must(identity.HubID("example.com"))(t) },
			"signed on another connection":              func(p *plea) { p.on = f.line() },
			"a member of before enrolment keys": func(p *plea) {
				*p = *f.plea(old)
			},
			"one that never joined": func(p *plea) {
				*p = *f.plea(invited)
			},
		} {
			p := f.plea(m)
			bend(p)
			if resp, err := f.send(p); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != ca.ErrUnproven.Error() {
				t.Errorf("%s: %v, %v; want %v", name, resp, err, ca.ErrUnproven)
			}
		}
		after := f.store.View()
		if after.Head() != start {
			t.Error("a refusal was written")
		}
		must(f.send(f.plea(m)))(t)
		if f.members.Suspected(m.cluster.UID) != "" {
			t.Error("a stranger could make a clone suspected")
		}
	})
}

func TestWhatIsHeardOnOneConnectionIsWorthNothingOnAnother(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		pass(2 * life)
		p := f.plea(m)
		must(f.send(p))(t)
		for _, later := range []time.Duration{0, time.Minute, 2 * life} {
			pass(later)
			again := *p
			again.over = f.line()
			_, err := f.send(&again)
			wantRefusal(t, err, ca.ErrUnproven)
		}
		// On its own connection it buys a certificate of the same key, which whoever replays it does not have.
		must(f.send(p))(t)
	})
}

func TestOnlyWhoProvesTheEnrolmentIsToldMore(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*store.Cluster)
		want   error
		count  string
	}{
		"removed":                     {func(c *store.Cluster) { c.State, c.Banned = store.ClusterRemoved, true }, ca.ErrBanned, "banned"},
		"banned":                      {func(c *store.Cluster) { c.Banned = true }, ca.ErrBanned, "banned"},
		"its records are elsewhere":   {func(c *store.Cluster) { c.SiteUID = "elsewhere" }, ca.ErrClone, "clone"},
		"a replacement has its place": {func(c *store.Cluster) { c.EnrolmentKey = "sha256:00" }, ca.ErrUnproven, "unproven"},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, f *fleet) {
				m := f.join("eu-1")
				f.put(tc.change, m.cluster.UID)
				pass(2 * life)
				for range 2 {
					_, err := f.send(f.plea(m))
					wantRefusal(t, err, tc.want)
				}
				if want := []string{tc.count, tc.count}; !slices.Equal(f.outcomes, want) {
					t.Errorf("counted %v, want %v", f.outcomes, want)
				}
				if said := f.members.Suspected(m.cluster.UID); (said != "") != (tc.count == "clone") {
					t.Errorf("said of the cluster: %q", said)
				}
				pass(4 * time.Hour)
				if said := f.members.Suspected(m.cluster.UID); said != "" {
					t.Errorf("hours after the last try: %q", said)
				}
			})
		})
	}
}

func TestMalformedRequestsAreRefusedAlike(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		bad := map[string]func(*agentv1.ReattestRequest){
			"no request for a certificate": func(r *agentv1.ReattestRequest) { r.SetCsr(nil) },
			"no name":                      func(r *agentv1.ReattestRequest) { r.SetSpiffeId("eu-1") },
			"no key":                       func(r *agentv1.ReattestRequest) { r.SetEnrolmentKey(nil) },
			"a certificate of the enrolment key": func(r *agentv1.ReattestRequest) {
				r.SetCsr(must(identity.NewCSR(m.enrolment))(t))
			},
		}
		for _, name := range slices.Sorted(maps.Keys(bad)) {
			p := f.plea(m)
			bad[name](p.req)
			if _, err := f.send(p); status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s: %v, want InvalidArgument", name, err)
			}
		}
	})
}

func TestAnEnrolmentKeyIsRecordedOnlyWithProofAndSurvivesRenewals(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		inv, key, foreign := f.invite("eu-2"), must(identity.NewKey())(t), m.enrolment
		// A key that the caller does not hold.
		csr := must(identity.NewCSR(key))(t)
		_, err := f.line().enrol.Enrol(t.Context(), agentv1.EnrolRequest_builder{
			Token: inv.Token, Csr: csr, EnrolmentKey: must(identity.EncodePublicKey(&foreign.PublicKey))(t),
		}.Build())
		if status.Code(err) != codes.InvalidArgument || f.cluster(inv.Cluster.UID).State != store.ClusterInvited {
			t.Errorf("got %v, cluster %s; want InvalidArgument and a token that is still good", err, f.cluster(inv.Cluster.UID).State)
		}
		own := must(identity.NewKey())(t)
		must(f.enrolWith(inv.Token, key, own))(t)
		must(f.enrolWith(inv.Token, key, own))(t) // the answer was lost
		_, err = f.enrolWith(inv.Token, key, must(identity.NewKey())(t))
		wantRefusal(t, err, ca.ErrTokenUsed)

		pass(life / 2)
		must(f.renew(m.certificate, must(identity.NewKey())(t)))(t)
		if c := f.cluster(m.cluster.UID); c.EnrolmentKey != m.cluster.EnrolmentKey {
			t.Error("a renewal changed the enrolment")
		}
	})
}

// TestTheSiteStaysWithTheEnrolment: certificates change their keys, and the same agent that joins again with another
// one is still at its site; another agent is not.
func TestTheSiteStaysWithTheEnrolment(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		f.put(func(c *store.Cluster) { c.SiteUID = "here" }, m.cluster.UID)
		pass(2 * life)
		must(f.enrolWith(f.invite("eu-1").Token, must(identity.NewKey())(t), m.enrolment))(t)
		if c := f.cluster(m.cluster.UID); c.SiteUID != "here" {
			t.Errorf("the same agent is at %q, want here", c.SiteUID)
		}
		pass(2 * life)
		next := must(identity.NewKey())(t)
		must(f.enrolWith(f.invite("eu-1").Token, must(identity.NewKey())(t), next))(t)
		if c := f.cluster(m.cluster.UID); c.SiteUID != "" {
			t.Errorf("another agent is at %q, want it recorded anew", c.SiteUID)
		}
		pass(2 * life)
		_, err := f.send(f.plea(m))
		wantRefusal(t, err, ca.ErrUnproven) // its place is taken
	})
}

func TestOneAddressCannotAskWithoutEnd(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		m := f.join("eu-1")
		pass(2 * life)
		p := f.plea(m)
		p.signature = []byte("noise")
		limited := 0
		for range 150 {
			if _, err := f.send(p); status.Code(err) == codes.ResourceExhausted {
				limited++
			}
		}
		if limited != 50 {
			t.Errorf("%d of 150 at once were put off, want 50", limited)
		}
		pass(time.Minute)
		must(f.send(f.plea(m)))(t)
	})
}
