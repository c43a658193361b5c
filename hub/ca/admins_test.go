package ca_test

import (
	"errors"
	"testing"

	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

func TestAnAdminIsOnRecordWithWhoAskedBeforeTheCertificateIsGiven(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		const jo = "spiffe://example.org/admin/jo"
		key := must(identity.NewKey())(t)
		csr := must(identity.NewCSR(key))(t)
		chain := must(f.members.IssueAdmin(t.Context(), jo, "ann", csr))(t)
		id := must(identity.IDOf(chain[0]))(t)
		if id.String() != "spiffe://example.org/admin/ann" || !key.PublicKey.Equal(chain[0].PublicKey) {
			t.Errorf("certificate of %s over another key", id)
		}
		view := f.store.View()
		admins := view.Admins()
		if len(admins) != 1 || admins[0].Name != "ann" || admins[0].By != jo || admins[0].Serial != identity.SerialOf(chain[0]) {
			t.Errorf("on record is %+v", admins)
		}
		last := must(f.store.AuditTail(1))(t)
		if len(last) != 1 || last[0].Who != jo || last[0].Verb != "admin.issue" || last[0].Object != "ann" {
			t.Errorf("audit says %+v", last)
		}
		if _, err := f.members.IssueAdmin(t.Context(), jo, "../hub", csr); !errors.Is(err, ca.ErrAdminName) {
			t.Errorf("a name that leaves its path: %v", err)
		}
		if _, err := f.members.IssueAdmin(t.Context(), jo, "bob", []byte("no request")); !errors.Is(err, ca.ErrRequest) {
			t.Errorf("garbage for a request: %v", err)
		}
		if n := len(must(f.store.AuditTail(10))(t)); n != 1 {
			t.Errorf("%d audit records, want the one of the admin that was made", n)
		}
	})
}
