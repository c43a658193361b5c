package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Role is the kind of party an ID names.
type Role string

// The roles. An ID of any other form does not parse.
const (
	RoleHub     Role = "hub"
	RoleCluster Role = "cluster"
	RoleAdmin   Role = "admin"
)

// ErrID is wrapped by every error about an ID that is not of one of the three forms.
var ErrID = errors.New("not a waterwheel identity")

// ID is one verified form of SPIFFE ID. It is comparable; the zero ID names nobody.
type ID struct {
	domain string
	role   Role
	name   string
}

// HubID is the ID of the hub of a trust domain.
func HubID(trustDomain string) (ID, error) {
	return ParseID("spiffe://" + trustDomain + "/hub")
}

// ClusterID is the ID of the agent of a cluster.
func ClusterID(trustDomain, uid string) (ID, error) {
	return ParseID("spiffe://" + trustDomain + "/cluster/" + uid)
}

// AdminID is the ID of a person or a machine that calls the admin API.
func AdminID(trustDomain, name string) (ID, error) {
	return ParseID("spiffe://" + trustDomain + "/admin/" + name)
}

// ParseID reads an ID such as spiffe://example.org/cluster/7f3a. The path must have exactly the segments of its role.
func ParseID(s string) (ID, error) {
	id, err := spiffeid.FromString(s)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %q: %w", ErrID, s, err)
	}

	return fromSPIFFE(id)
}

// IDOf reads the ID of a certificate, which must have exactly one URI name.
func IDOf(cert *x509.Certificate) (ID, error) {
	switch {
	case len(cert.URIs) != 1:
		return ID{}, fmt.Errorf("%w: certificate has %d URI names, want 1", ErrID, len(cert.URIs))
	case cert.IsCA:
		return ID{}, fmt.Errorf("%w: certificate of %q is an authority's", ErrID, cert.URIs[0])
	}
	id, err := spiffeid.FromURI(cert.URIs[0])
	if err != nil {
		return ID{}, fmt.Errorf("%w: %q: %w", ErrID, cert.URIs[0], err)
	}

	return fromSPIFFE(id)
}

func fromSPIFFE(id spiffeid.ID) (ID, error) {
	out := ID{domain: id.TrustDomain().Name()}
	segments := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	switch role := Role(segments[0]); {
	case role == RoleHub && len(segments) == 1:
		out.role = RoleHub
	case (role == RoleCluster || role == RoleAdmin) && len(segments) == 2:
		out.role, out.name = role, segments[1]
	default:
		return ID{}, fmt.Errorf("%w: %q: path is neither /hub, /cluster/UID nor /admin/NAME", ErrID, id)
	}

	return out, nil
}

// TrustDomain is the name of the trust domain, without the scheme.
func (id ID) TrustDomain() string { return id.domain }

// Role is what kind of party the ID names; "" for the zero ID.
func (id ID) Role() Role { return id.role }

// Name is the cluster's uid or the admin's name; "" for the hub.
func (id ID) Name() string { return id.name }

// IsZero tells that the ID names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// String is the SPIFFE ID, "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}

	return id.URL().String()
}

// URL is the ID as it stands in a certificate.
func (id ID) URL() *url.URL {
	path := "/" + string(id.role)
	if id.name != "" {
		path += "/" + id.name
	}

	return &url.URL{Scheme: "spiffe", Host: id.domain, Path: path}
}
