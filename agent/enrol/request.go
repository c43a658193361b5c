package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// requestLimit is how long one request may take, the connection included.
const requestLimit = 20 * time.Second

// enrol asks for the first SVID, and has the enrolment key put on record.
func (a *Agent) enrol(ctx context.Context, token string) (*svid, error) {
	csr, err := identity.NewCSR(a.key)
	if err != nil {
		return nil, err
	}
	public, proof, err := a.prove(identity.Claim{Purpose: identity.ToEnrol, Subject: token, CSR: csr})
	if err != nil {
		return nil, err
	}
	var got *svid
	err = a.ask(ctx, anonymous{a.Source()}, func(ctx context.Context, hub agentv1.EnrolServiceClient) error {
		resp, err := hub.Enrol(ctx, agentv1.EnrolRequest_builder{
			Token: token, Csr: csr, AgentVersion: a.cfg.AgentVersion, EnrolmentKey: public,
		}.Build(), grpc.PerRPCCredentials(proof))
		if err != nil {
			return err
		}
		got, err = a.check(resp.GetClusterName(), a.key, resp.GetChain(), resp.GetBundle())

		return err
	})

	return got, err
}

// requestReturn asks for the SVID after one that ended, by the enrolment key and under a new key, over a connection on
// which only the hub shows a certificate.
func (a *Agent) requestReturn(ctx context.Context, ended *svid) (*svid, error) {
	key, csr, err := newRequest()
	if err != nil {
		return nil, err
	}
	site := a.cfg.Site()
	public, proof, err := a.prove(identity.Claim{Purpose: identity.ToReattest, Subject: ended.id.String(), Site: site, CSR: csr})
	if err != nil {
		return nil, err
	}
	var got *svid
	err = a.ask(ctx, anonymous{a.Source()}, func(ctx context.Context, hub agentv1.EnrolServiceClient) error {
		resp, err := hub.Reattest(ctx, agentv1.ReattestRequest_builder{
			SpiffeId: ended.id.String(), Csr: csr, EnrolmentKey: public, SiteUid: site, AgentVersion: a.cfg.AgentVersion,
		}.Build(), grpc.PerRPCCredentials(proof))
		if err != nil {
			return err
		}
		got, err = a.checkNext(ended, key, resp.GetChain(), resp.GetBundle())

		return err
	})

	return got, err
}

// prove is the public part of the enrolment key, and what signs a claim by it.
func (a *Agent) prove(c identity.Claim) (public []byte, p proof, err error) {
	if c.Hub, err = identity.HubID(a.cfg.TrustDomain); err != nil {
		return nil, proof{}, err
	}
	public, err = identity.EncodePublicKey(&a.enrolment.PublicKey)

	return public, proof{claim: c, key: a.enrolment}, err
}

// newRequest is a request for a certificate of a new key.
func newRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, nil, err
	}
	csr, err := identity.NewCSR(key)

	return key, csr, err
}

// requestRenewal asks for the SVID after old, under a new key.
func (a *Agent) requestRenewal(ctx context.Context, old *svid) (*svid, error) {
	key, csr, err := newRequest()
	if err != nil {
		return nil, err
	}
	var got *svid
	err = a.ask(ctx, a.Source(), func(ctx context.Context, hub agentv1.EnrolServiceClient) error {
		resp, err := hub.Renew(ctx, agentv1.RenewRequest_builder{Csr: csr}.Build())
		if err != nil {
			return err
		}
		got, err = a.checkNext(old, key, resp.GetChain(), resp.GetBundle())

		return err
	})

	return got, err
}

// ask makes one request over a connection of its own.
func (a *Agent) ask(ctx context.Context, src identity.Source, do func(context.Context, agentv1.EnrolServiceClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	creds := credentials.NewTLS(identity.ClientTLS(identity.Client{
		Source: src, TrustDomain: a.cfg.TrustDomain, Pin: a.cfg.Pin,
	}))
	target := a.cfg.Hub
	opts := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if dial := a.cfg.Dial; dial != nil {
		target = "passthrough:///" + target
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return dial(ctx, a.cfg.Hub)
		}))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return fmt.Errorf("dialling the hub at %s: %w", a.cfg.Hub, err)
	}
	defer conn.Close()

	return do(ctx, agentv1.NewEnrolServiceClient(conn))
}

// checkNext is check for an SVID that follows another.
func (a *Agent) checkNext(old *svid, key *ecdsa.PrivateKey, chain, bundle [][]byte) (*svid, error) {
	got, err := a.check(old.cluster, key, chain, bundle)
	if err == nil && got.id != old.id {
		return nil, fmt.Errorf("the hub answered with a certificate of %s", got.id)
	}

	return got, err
}

// check turns an answer into an SVID, having seen that it is one for this key, from the trust domain it joined, and that
// it is not over by this machine's clock.
func (a *Agent) check(cluster string, key *ecdsa.PrivateKey, chain, bundle [][]byte) (*svid, error) {
	certs, err := parse(chain)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate that the hub gave: %w", err)
	}
	roots, err := parse(bundle)
	if err != nil {
		return nil, fmt.Errorf("reading the roots that the hub gave: %w", err)
	}
	s := &svid{cluster: cluster, key: key, chain: certs, bundle: roots}
	if s.id, err = identity.IDOf(certs[0]); err != nil {
		return nil, fmt.Errorf("reading the certificate that the hub gave: %w", err)
	}
	if s.id.TrustDomain() != a.cfg.TrustDomain || s.id.Role() != identity.RoleCluster {
		return nil, fmt.Errorf("the hub gave a certificate of %s, want a cluster of %s", s.id, a.cfg.TrustDomain)
	}
	if _, err := identity.TLSCertificate(key, certs...); err != nil {
		return nil, fmt.Errorf("the hub's answer is not for this agent: %w", err)
	}
	now := time.Now()
	if !now.Before(s.notAfter()) {
		return nil, fmt.Errorf("the hub gave a certificate until %s, which is over by the clock here (%s): set this machine's clock, or the hub's",
			s.notAfter().UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	s.renewAt = renewAt(now, s.notAfter(), rand.Float64())

	return s, nil
}

func parse(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("there is none")
	}
	out := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out[i] = c
	}

	return out, nil
}

// permanent tells that the hub refused and will refuse again.
func permanent(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.InvalidArgument, codes.Unauthenticated:
		return true
	default:
		return false
	}
}

// text is what an error says to people, without gRPC's wrapping.
func text(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}

	return err.Error()
}

// anonymous shows no certificate and trusts the same roots.
type anonymous struct{ identity.Source }

func (anonymous) Certificate() *tls.Certificate { return nil }
