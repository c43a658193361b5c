package ca

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Refusals of Invite, Remove and Check. Their texts are for people.
var (
	ErrName     = errors.New("not a cluster name: want 1 to 45 of a-z, 0-9 and -, a letter first, no - last")
	ErrJoined   = errors.New("has joined already")
	ErrNotFound = errors.New("no such cluster")
	ErrInUse    = errors.New("jobs are assigned to it")
	ErrBanned   = errors.New("the cluster was removed from the fleet")
)

// Members keeps the clusters of the fleet. Safe for concurrent use.
type Members struct {
	authority *Authority
	store     *store.Store
	life      time.Duration
	count     func(outcome string) // of requests to reattest
	log       *slog.Logger
	sources   sources // of requests to reattest

	mu       sync.Mutex           // guards suspects
	suspects map[string]time.Time // clusters whose enrolment was last shown from another site, by uid
}

// NewMembers gives certificates of the given life to the agents that join. reattests is told the outcome of each request
// to reattest; nil: nobody counts them.
func NewMembers(a *Authority, s *store.Store, life time.Duration, reattests func(outcome string), log *slog.Logger) *Members {
	if reattests == nil {
		reattests = func(string) {}
	}

	return &Members{
		authority: a, store: s, life: life, count: reattests, log: log,
		sources: sources{next: map[string]time.Time{}}, suspects: map[string]time.Time{},
	}
}

// Invitation is what an agent needs to join. Token is shown once and kept nowhere.
type Invitation struct {
	Cluster   store.Cluster
	Token     string
	ExpiresAt time.Time
}

var clusterName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,43}[a-z0-9])?$`)

// Invite makes a cluster known under a new uid and gives a join token for it. A cluster that has not joined yet, or
// whose agent's certificate has ended, gets a new token, and the older ones are void; one that has joined otherwise is
// refused with ErrJoined.
func (m *Members) Invite(ctx context.Context, who, name string) (Invitation, error) {
	if !clusterName.MatchString(name) {
		return Invitation{}, fmt.Errorf("inviting %q: %w", name, ErrName)
	}
	token, hash := newToken()
	inv := Invitation{Token: token}
	_, err := m.store.Write(ctx, audit(who, "cluster.invite", name, ""), func(txn *store.Txn) error {
		now := txn.Now()
		c, known := txn.ClusterByName(name)
		switch {
		case !known:
			c = store.Cluster{UID: newUID(), Name: name, State: store.ClusterInvited, CreatedAt: now}
			txn.PutCluster(c)
		case c.State != store.ClusterInvited && now.Before(c.CertNotAfter):
			return fmt.Errorf("cluster %q %w on %s; to let another agent take its place, remove it first",
				name, ErrJoined, c.JoinedAt.Format(time.DateOnly))
		}
		voidTokens(txn, c.UID)
		inv.Cluster, inv.ExpiresAt = c, now.Add(TokenLife)
		txn.PutToken(store.Token{Hash: hash, ClusterUID: c.UID, CreatedAt: now, ExpiresAt: inv.ExpiresAt})

		return nil
	})
	if err != nil {
		return Invitation{}, err
	}

	return inv, nil
}

// voidTokens ends all older tokens of a cluster: they stay, so that whoever brings one is told why it is refused. Those
// long past are dropped.
func voidTokens(txn *store.Txn, clusterUID string) {
	for _, t := range txn.TokensOf(clusterUID) {
		switch {
		case txn.Now().Sub(t.ExpiresAt) > 24*TokenLife:
			txn.DeleteToken(t.Hash)
		case !t.Void:
			t.Void = true
			txn.PutToken(t)
		}
	}
}

// Remove takes a cluster out of the fleet: its identity is banned, its name is free. While jobs are assigned to it,
// only by force; those jobs then keep their last words.
func (m *Members) Remove(ctx context.Context, who, name string, force bool) error {
	detail := ""
	if force {
		detail = "force"
	}
	_, err := m.store.Write(ctx, audit(who, "cluster.remove", name, detail), func(txn *store.Txn) error {
		c, known := txn.ClusterByName(name)
		if !known {
			return fmt.Errorf("cluster %q: %w", name, ErrNotFound)
		}
		if jobs := txn.JobsOf(c.UID); len(jobs) > 0 && !force {
			return fmt.Errorf("cluster %q cannot be removed: %w (%d); delete them first, or remove by force a cluster that is gone",
				name, ErrInUse, len(jobs))
		}
		voidTokens(txn, c.UID)
		c.State, c.Banned, c.RemovedAt = store.ClusterRemoved, true, txn.Now()
		txn.PutCluster(c)

		return nil
	})

	return err
}

// Check refuses a peer that is no member of the fleet any more. It is for every handshake and for live streams, and
// costs a look into memory. Each certificate that was issued is good until its end: after a renewal the older one is,
// because its holder may never have got the answer.
func (m *Members) Check(peer identity.Peer) error {
	if peer.ID.Role() != identity.RoleCluster {
		return nil
	}

	return m.Standing(peer.ID.Name())
}

// Standing is Check for who is known to be an agent, by the cluster's uid.
func (m *Members) Standing(clusterUID string) error {
	view := m.store.View()
	c, known := view.Cluster(clusterUID)
	if !known {
		return fmt.Errorf("%w: uid %s", ErrNotFound, clusterUID)
	}

	return standing(c)
}

// standing is the one rule on who may hold and renew a certificate.
func standing(c store.Cluster) error {
	if c.Banned || c.State == store.ClusterRemoved {
		return fmt.Errorf("%w on %s", ErrBanned, c.RemovedAt.Format(time.DateOnly))
	}

	return nil
}

func newUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: the process ends instead

	return hex.EncodeToString(b[:])
}

func audit(who, verb, object, detail string) store.Audit {
	return store.Audit{At: time.Now(), Who: who, Verb: verb, Object: object, Detail: detail}
}
