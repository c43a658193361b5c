package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Refusals of IssueAdmin.
var (
	ErrAdminName = errors.New("not an admin's name: want 1 to 45 of a-z, 0-9 and -, a letter first, no - last")
	ErrRequest   = errors.New("not a certificate request of a P-256 key")
)

// AdminLife is how long the certificate of an admin is valid.
const AdminLife = 365 * 24 * time.Hour

// IssueAdmin signs an SVID for an admin over the key of a request. It is on record, with who asked, before it is given.
func (m *Members) IssueAdmin(ctx context.Context, who, name string, csr []byte) ([]*x509.Certificate, error) {
	if !clusterName.MatchString(name) {
		return nil, fmt.Errorf("making admin %q: %w", name, ErrAdminName)
	}
	pub, err := identity.ParseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("making admin %q: %w: %w", name, ErrRequest, err)
	}
	id, err := identity.AdminID(m.authority.domain, name)
	if err != nil {
		return nil, err
	}
	chain, err := m.authority.Issue(id, pub, AdminLife)
	if err != nil {
		return nil, err
	}
	serial := identity.SerialOf(chain[0])
	_, err = m.store.Write(ctx, audit(who, "admin.issue", name, serial), func(txn *store.Txn) error {
		txn.PutAdmin(store.Admin{Name: name, Serial: serial, IssuedAt: txn.Now(), NotAfter: chain[0].NotAfter, By: who})

		return nil
	})
	if err != nil {
		return nil, err
	}

	return chain, nil
}
