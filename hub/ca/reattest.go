package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// Refusals of Reattest. ErrUnproven is the same for a cluster that never was, for one with no enrolment key on record and
// for a wrong key, so that a stranger learns nothing; only who holds the enrolment key learns more.
var (
	ErrUnproven = errors.New("this hub has no record of the enrolment that was shown")
	ErrClone    = errors.New("the enrolment is on record for another site: a clone, or records that were made anew")
	ErrCrowded  = errors.New("too many requests from this address; ask again later")
)

// Reattest implements EnrolService. It needs no client certificate: the enrolment key is the proof.
func (e *enrolment) Reattest(ctx context.Context, req *agentv1.ReattestRequest) (*agentv1.ReattestResponse, error) {
	m := e.members
	if !m.sources.allow(sourceOf(ctx), time.Now()) {
		m.count(outcomeOf(ErrCrowded))

		return nil, status.Error(codes.ResourceExhausted, ErrCrowded.Error())
	}
	ask, err := m.question(ctx, req)
	if err != nil {
		m.count("malformed")

		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	c, chain, err := m.reattest(ctx, ask)
	m.count(outcomeOf(err))
	if errors.Is(err, ErrClone) {
		m.suspect(ask.id.Name(), time.Now())
	}
	if err != nil {
		return nil, m.refuse("Reattest", err)
	}
	m.log.Info("cluster is back after its certificate ended", telemetry.KeyCluster, c.Name, "cluster_uid", c.UID,
		"agent_version", req.GetAgentVersion(), telemetry.KeySerial, identity.SerialOf(chain[0]))

	return agentv1.ReattestResponse_builder{
		Chain: raw(chain), Bundle: raw(m.authority.Roots()), NotAfter: timestamppb.New(chain[0].NotAfter),
	}.Build(), nil
}

// question is a request to reattest, well formed. proven tells that who asks holds the key that it names by keyHash;
// nothing yet says whose that is.
type question struct {
	id      identity.ID
	site    string
	pub     *ecdsa.PublicKey // of the new certificate
	keyHash string           // of the enrolment key
	proven  bool
}

// question reads a request, and costs the same whatever is in it and whomever it names: two signatures are checked.
func (m *Members) question(ctx context.Context, req *agentv1.ReattestRequest) (question, error) {
	pub, err := identity.ParseCSR(req.GetCsr())
	if err != nil {
		return question{}, err
	}
	id, err := identity.ParseID(req.GetSpiffeId())
	if err != nil {
		return question{}, err
	}
	claim := identity.Claim{Purpose: identity.ToReattest, Subject: id.String(), Site: req.GetSiteUid(), CSR: req.GetCsr()}
	keyHash, err := m.proven(ctx, claim, pub, req.GetEnrolmentKey())
	if err != nil && !errors.Is(err, identity.ErrClaim) {
		return question{}, err
	}

	return question{id: id, site: req.GetSiteUid(), pub: pub, keyHash: keyHash, proven: err == nil}, nil
}

// proven is the hash of an enrolment key that signed a claim for the connection of this call. csr is the key of the
// certificate that is asked for: it must be another one.
func (m *Members) proven(ctx context.Context, claim identity.Claim, csr *ecdsa.PublicKey, der []byte) (string, error) {
	key, err := identity.ParsePublicKey(der)
	if err != nil {
		return "", err
	}
	if key.Equal(csr) {
		return "", errors.New("the enrolment key is no key for a certificate")
	}
	keyHash, err := identity.KeyHash(key)
	if err != nil {
		return "", err
	}
	if claim.Hub, err = identity.HubID(m.authority.domain); err != nil {
		return "", err
	}
	conn, err := connectionOf(ctx)
	if err != nil {
		return "", err
	}
	signature := ""
	if sent := metadata.ValueFromIncomingContext(ctx, identity.ProofKey); len(sent) == 1 {
		signature = sent[0]
	}

	return keyHash, claim.Verify(conn, key, []byte(signature))
}

// reattest gives a cluster whose certificate ended a further one.
func (m *Members) reattest(ctx context.Context, q question) (store.Cluster, []*x509.Certificate, error) {
	view := m.store.View()
	c, err := welcome(&view, m.authority.domain, q)
	if err != nil {
		return store.Cluster{}, nil, err
	}
	chain, err := m.issue(c.UID, q.pub)
	if err != nil {
		return store.Cluster{}, nil, err
	}
	serial := identity.SerialOf(chain[0])
	_, err = m.store.Write(ctx, audit(q.id.String(), "cluster.reattest", c.UID, serial), func(txn *store.Txn) error {
		// The same question again: it may have been removed or invited meanwhile.
		if c, err = welcome(txn, m.authority.domain, q); err != nil {
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
		return store.Cluster{}, nil, err
	}

	return c, chain, nil
}

// welcome decides on a question: who may have a certificate again.
func welcome(r reader, domain string, q question) (store.Cluster, error) {
	c, known := r.Cluster(q.id.Name())
	known = known && q.id.Role() == identity.RoleCluster && q.id.TrustDomain() == domain
	if !known {
		c = store.Cluster{}
	}
	same := subtle.ConstantTimeCompare([]byte(c.EnrolmentKey), []byte(q.keyHash)) == 1 // never of an empty one
	if !known || !same || !q.proven {
		return store.Cluster{}, ErrUnproven
	}
	if err := standing(c); err != nil {
		return store.Cluster{}, err
	}
	if c.SiteUID != "" && c.SiteUID != q.site {
		return store.Cluster{}, ErrClone
	}

	return c, nil
}

// justGiven bounds the writes that the certificates of one cluster cost.
func (m *Members) justGiven(c store.Cluster, now time.Time) bool {
	age := now.Sub(c.CertNotAfter.Add(-m.life))

	return 0 <= age && age < min(minRenewal, m.life/4)
}

// suspicion is how long a clone that was refused is spoken of: its agent asks again each hour.
const suspicion = 3 * time.Hour

// suspect remembers that somebody with the enrolment key of a cluster came from another site. There is one entry a
// cluster at most.
func (m *Members) suspect(clusterUID string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspects[clusterUID] = now
}

// Suspected is what a person has to know of a cluster whose enrolment was shown from another site; "" if there is
// nothing.
func (m *Members) Suspected(clusterUID string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, known := m.suspects[clusterUID]
	if !known {
		return ""
	}
	if time.Since(at) > suspicion {
		delete(m.suspects, clusterUID)

		return ""
	}

	return fmt.Sprintf("Refused on %s: %s; find the clone and stop it, or remove the cluster and invite it again if its old site is gone",
		at.UTC().Format(time.RFC3339), ErrClone)
}

// outcomeOf is the label that counts an answer.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "given"
	case errors.Is(err, ErrUnproven):
		return "unproven"
	case errors.Is(err, ErrBanned):
		return "banned"
	case errors.Is(err, ErrClone):
		return "clone"
	case errors.Is(err, ErrTooSoon):
		return "too_soon"
	case errors.Is(err, ErrCrowded):
		return "crowded"
	default:
		return "failed"
	}
}

// sourceOf is the address that a call comes from, without its port.
func sourceOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	from, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	ip := from.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}

	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String() // one host has all of a /64
}

// connectionOf is the TLS connection under a call.
func connectionOf(ctx context.Context) (*tls.ConnectionState, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("call without a connection")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, errors.New("call without TLS")
	}

	return &info.State, nil
}
