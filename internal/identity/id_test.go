package identity_test

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

func TestParseIDTakesExactlyTheThreeForms(t *testing.T) {
	for _, tc := range []struct {
		in     string
		role   identity.Role
		domain string
		name   string
	}{
		{"spiffe://ww.example/hub", identity.RoleHub, "ww.example", ""},
		{"spiffe://ww.example/cluster/abc", identity.RoleCluster, "ww.example", "abc"},
		{"spiffe://ww.example/cluster/hub", identity.RoleCluster, "ww.example", "hub"},
		{"spiffe://ww.example/admin/ann-1.x_y", identity.RoleAdmin, "ww.example", "ann-1.x_y"},
	} {
		id, err := identity.ParseID(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if id.Role() != tc.role || id.Name() != tc.name || id.TrustDomain() != tc.domain || id.String() != tc.in {
			t.Errorf("%s: got %s %q in %q, printed %s", tc.in, id.Role(), id.Name(), id.TrustDomain(), id)
		}
	}
	for _, in := range []string{
		"", "hub", "https://ww.example/hub", "spiffe://ww.example", "spiffe://ww.example/", "spiffe://ww.example/hub/",
		"spiffe://ww.example/hub/x", "spiffe://ww.example/hubx", "spiffe://ww.example/cluster", "spiffe://ww.example/cluster/",
		"spiffe://ww.example/cluster/a/b", "spiffe://ww.example/cluster/a/", "spiffe://ww.example/cluster//a",
		"spiffe://ww.example/cluster/..", "spiffe://ww.example/cluster/a%2fb", "spiffe://ww.example/clusters/a",
		"spiffe://ww.example/Cluster/a", "spiffe://ww.example/admin/a/b", "spiffe://ww.example/cluster/a?x=1",
	} {
		if id, err := identity.ParseID(in); !errors.Is(err, identity.ErrID) || !id.IsZero() {
			t.Errorf("%q: got %v, %v; want ErrID and the zero ID", in, id, err)
		}
	}
}

func TestIDsThatShareAPrefixAreDifferent(t *testing.T) {
	a, errA := identity.ClusterID("ww.example", "abc")
	b, errB := identity.ClusterID("ww.example", "abcd")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a == b || !strings.HasPrefix(b.String(), a.String()) {
		t.Errorf("%s and %s: the test wants two different IDs of which one is the other's prefix", a, b)
	}
}

func TestNamesCannotEscapeTheirSegment(t *testing.T) {
	for _, name := range []string{"", "a/b", "../hub", "a b", "a?b", "ä"} {
		if id, err := identity.ClusterID("ww.example", name); err == nil {
			t.Errorf("cluster %q became %s", name, id)
		}
		if id, err := identity.AdminID("ww.example", name); err == nil {
			t.Errorf("admin %q became %s", name, id)
		}
	}
}

func TestIDOfWantsOneURIAndNoAuthority(t *testing.T) {
	hub, other := uri(t, "spiffe://ww.example/hub"), uri(t, "spiffe://ww.example/admin/x")
	for name, cert := range map[string]*x509.Certificate{
		"no URI":       {},
		"two URIs":     {URIs: []*url.URL{hub, other}},
		"an authority": {URIs: []*url.URL{hub}, IsCA: true},
		"another form": {URIs: []*url.URL{uri(t, "spiffe://ww.example/node/x")}},
	} {
		if _, err := identity.IDOf(cert); !errors.Is(err, identity.ErrID) {
			t.Errorf("%s: got %v, want ErrID", name, err)
		}
	}
	if id, err := identity.IDOf(&x509.Certificate{URIs: []*url.URL{hub}}); err != nil || id.Role() != identity.RoleHub {
		t.Errorf("hub: got %v, %v", id, err)
	}
}

func uri(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}

	return u
}
