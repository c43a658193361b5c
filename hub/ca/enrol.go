package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// Refusals of a join token. Only who holds the token's 256 bits learns more than that it is unknown.
var (
	ErrTokenUnknown = errors.New("join token is not known to this hub; ask for a new invitation")
	ErrTokenExpired = errors.New("join token has expired; ask for a new invitation")
	ErrTokenUsed    = errors.New("join token was used already, with another key; ask for a new invitation")
	ErrTokenVoid    = errors.New("join token was replaced by a newer invitation; use that one")
	ErrTooSoon      = errors.New("certificate was renewed a moment ago; ask again later")
)

// minRenewal is the least time between two certificates of one cluster: each is a durable write.
const minRenewal = 10 * time.Second

// Register puts EnrolService on a server. Whether the caller of a method has the right role is the server's to check.
func (m *Members) Register(server grpc.ServiceRegistrar) {
	agentv1.RegisterEnrolServiceServer(server, &enrolment{members: m})
}

// enrolment answers the agents.
type enrolment struct {
	agentv1.UnsafeEnrolServiceServer
	members *Members
}

// Enrol implements EnrolService. It needs no client certificate.
func (e *enrolment) Enrol(ctx context.Context, req *agentv1.EnrolRequest) (*agentv1.EnrolResponse, error) {
	m := e.members
	pub, err := identity.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	enrolment := "" // of an agent that has none
	if key := req.GetEnrolmentKey(); len(key) > 0 {
		claim := identity.Claim{Purpose: identity.ToEnrol, Subject: req.GetToken(), CSR: req.GetCsr()}
		if enrolment, err = m.proven(ctx, claim, pub, key); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	got, err := m.enrol(ctx, req.GetToken(), pub, enrolment)
	if err != nil {
		return nil, m.refuse("Enrol", err)
	}
	m.log.Info("cluster enrolled", telemetry.KeyCluster, got.cluster.Name, "cluster_uid", got.cluster.UID,
		"agent_version", req.GetAgentVersion(), telemetry.KeySerial, identity.SerialOf(got.chain[0]))

	return agentv1.EnrolResponse_builder{
		Chain: raw(got.chain), Bundle: raw(m.authority.Roots()), SpiffeId: got.chain[0].URIs[0].String(),
		ClusterName: got.cluster.Name, NotAfter: timestamppb.New(got.chain[0].NotAfter),
	}.Build(), nil
}

// Renew implements EnrolService for the cluster of the caller's certificate.
func (e *enrolment) Renew(ctx context.Context, req *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	m := e.members
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	pub, err := identity.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	chain, err := m.renew(ctx, caller, pub)
	if err != nil {
		return nil, m.refuse("Renew", err)
	}
	m.log.Info("certificate renewed", "cluster_uid", caller.ID.Name(), telemetry.KeySerial, identity.SerialOf(chain[0]))

	return agentv1.RenewResponse_builder{
		Chain: raw(chain), Bundle: raw(m.authority.Roots()), NotAfter: timestamppb.New(chain[0].NotAfter),
	}.Build(), nil
}

type enrolled struct {
	cluster store.Cluster
	chain   []*x509.Certificate
}

// enrol trades a token for a certificate, and records the hash of the enrolment key, if there is one.
func (m *Members) enrol(ctx context.Context, token string, pub *ecdsa.PublicKey, enrolment string) (enrolled, error) {
	hash, ok := tokenHash(token)
	if !ok {
		return enrolled{}, ErrTokenUnknown
	}
	keyHash, err := identity.KeyHash(pub)
	if err != nil {
		return enrolled{}, err
	}
	// A first look, so that nothing is signed or written for a token that buys nothing.
	view := m.store.View()
	keys := shown{keyHash, enrolment}
	if chain, err := redeem(&view, hash, keys, time.Now()); err != nil || chain != nil {
		return m.answer(&view, hash, chain, err)
	}
	t, _ := view.Token(hash)
	chain, err := m.issue(t.ClusterUID, pub)
	if err != nil {
		return enrolled{}, err
	}
	var got enrolled
	_, err = m.store.Write(ctx, audit("token", "cluster.enrol", t.ClusterUID, keyHash), func(txn *store.Txn) error {
		// The same question again: another caller may have come first.
		if got.chain, err = redeem(txn, hash, keys, txn.Now()); err != nil || got.chain != nil {
			return errors.Join(err, errAnswered)
		}
		t, _ := txn.Token(hash)
		t.UsedAt, t.KeyHash, t.EnrolmentKey, t.Chain = txn.Now(), keyHash, enrolment, raw(chain)
		txn.PutToken(t)
		c, _ := txn.Cluster(t.ClusterUID)
		if !keys.of(c) {
			c.SiteUID = "" // other keys are another directory: the site is recorded anew
		}
		c.State, c.JoinedAt, c.KeyHash, c.EnrolmentKey = store.ClusterJoined, txn.Now(), keyHash, enrolment
		c.CertSerial, c.CertNotAfter = identity.SerialOf(chain[0]), chain[0].NotAfter
		txn.PutCluster(c)
		got = enrolled{cluster: c, chain: chain}

		return nil
	})
	if errors.Is(err, errAnswered) {
		view = m.store.View()

		return m.answer(&view, hash, got.chain, err)
	}
	if err != nil {
		return enrolled{}, err
	}

	return got, nil
}

// errAnswered ends a write that has nothing to write.
var errAnswered = errors.New("token was redeemed meanwhile")

// answer is a repeated or a refused redemption.
func (m *Members) answer(r reader, hash string, chain []*x509.Certificate, err error) (enrolled, error) {
	if chain == nil {
		return enrolled{}, err
	}
	t, _ := r.Token(hash)
	c, _ := r.Cluster(t.ClusterUID)

	return enrolled{cluster: c, chain: chain}, nil
}

// reader is what redeem looks at: the view, or the state within a write.
type reader interface {
	Token(hash string) (store.Token, bool)
	Cluster(uid string) (store.Cluster, bool)
}

// shown is the hashes of the keys that come with a token.
type shown struct {
	certificate string
	enrolment   string // "": none
}

// of tells whether a cluster joined with these: its certificates' keys change, its enrolment key does not.
func (k shown) of(c store.Cluster) bool {
	if c.EnrolmentKey != "" {
		return c.EnrolmentKey == k.enrolment
	}

	return c.KeyHash == k.certificate
}

// used tells whether it was these that a token was used with. An agent that had no enrolment key then may have one now.
func (k shown) used(t store.Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.KeyHash), []byte(k.certificate)) == 1 &&
		(t.EnrolmentKey == "" || t.EnrolmentKey == k.enrolment)
}

// redeem says what a token buys for keys: the chain that it bought before, or nil and nil: a new one.
func redeem(r reader, hash string, keys shown, now time.Time) ([]*x509.Certificate, error) {
	t, known := r.Token(hash)
	if !known {
		return nil, ErrTokenUnknown
	}
	c, known := r.Cluster(t.ClusterUID)
	if !known {
		return nil, ErrTokenUnknown
	}
	if err := standing(c); err != nil {
		return nil, err
	}
	if t.UsedAt.IsZero() {
		switch {
		case t.Void:
			return nil, ErrTokenVoid
		case !now.Before(t.ExpiresAt):
			return nil, ErrTokenExpired
		}

		return nil, nil
	}
	if !keys.used(t) {
		return nil, ErrTokenUsed
	}
	chain, err := parse(t.Chain)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate that a token bought: %w", err)
	}
	if !now.Before(chain[0].NotAfter) {
		return nil, ErrTokenExpired
	}

	return chain, nil
}

// renew gives the caller's cluster a further certificate.
func (m *Members) renew(ctx context.Context, caller identity.Peer, pub *ecdsa.PublicKey) ([]*x509.Certificate, error) {
	uid := caller.ID.Name()
	chain, err := m.issue(uid, pub)
	if err != nil {
		return nil, err
	}
	serial := identity.SerialOf(chain[0])
	_, err = m.store.Write(ctx, audit(caller.ID.String(), "cluster.renew", uid, serial), func(txn *store.Txn) error {
		c, known := txn.Cluster(uid)
		if !known {
			return ErrNotFound
		}
		if err := standing(c); err != nil {
			return err
		}
		if m.justGiven(c, txn.Now()) {
			return ErrTooSoon
		}
		c.CertSerial, c.CertNotAfter = serial, chain[0].NotAfter
		txn.PutCluster(c)

		return nil
	})
	if err != nil {
		return nil, err
	}

	return chain, nil
}

func (m *Members) issue(clusterUID string, pub *ecdsa.PublicKey) ([]*x509.Certificate, error) {
	id, err := identity.ClusterID(m.authority.domain, clusterUID)
	if err != nil {
		return nil, err
	}

	return m.authority.Issue(id, pub, m.life)
}

// refuse is the one place where an error becomes a gRPC status. What a caller can mend it is told; the rest is logged.
func (m *Members) refuse(method string, err error) error {
	for _, known := range []error{ErrTokenUnknown, ErrTokenExpired, ErrTokenUsed, ErrTokenVoid, ErrUnproven, ErrClone, ErrBanned, ErrNotFound} {
		if errors.Is(err, known) {
			m.log.Warn("certificate refused", telemetry.KeyMethod, method, telemetry.Err(err))

			return status.Error(codes.PermissionDenied, known.Error())
		}
	}
	if errors.Is(err, ErrTooSoon) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	m.log.Error("certificate could not be given", telemetry.KeyMethod, method, telemetry.Err(err))

	return status.Error(codes.Unavailable, "the hub cannot give certificates now; its log says why; try again later")
}

func callerOf(ctx context.Context) (identity.Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Peer{}, identity.ErrAnonymous
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return identity.Peer{}, identity.ErrAnonymous
	}
	caller, err := identity.PeerOf(&info.State)
	if err != nil {
		return identity.Peer{}, err
	}
	if caller.ID.Role() != identity.RoleCluster {
		return identity.Peer{}, fmt.Errorf("%s is no cluster", caller.ID)
	}

	return caller, nil
}

func raw(certs []*x509.Certificate) [][]byte {
	out := make([][]byte, len(certs))
	for i, c := range certs {
		out[i] = c.Raw
	}

	return out
}

func parse(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("empty chain")
	}
	out := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out[i] = c
	}

	return out, nil
}
