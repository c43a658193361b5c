package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// issuedBefore is how long before its making a certificate of the hub's authority begins.
const issuedBefore = 5 * time.Minute

// judge says what the other end of a TLS connection is. ours tells that it is the hub, its time aside.
func (h Hub) judge(state tls.ConnectionState) (f Finding, ours bool) {
	leaf := state.PeerCertificates[0]
	roots := h.Roots
	if roots == nil {
		root, err := identity.VerifyPin(h.Pin, state.PeerCertificates)
		if err != nil {
			return h.stranger(leaf, "it does not bring the root of hub.caPin along"), false
		}
		roots = identity.Pool(root)
	}
	err := verify(state.PeerCertificates, roots, h.Now())
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if outOfTime := ok && invalid.Reason == x509.Expired; err != nil && !outOfTime {
		return h.stranger(leaf, err.Error()), false
	}
	id, err := identity.IDOf(leaf)
	if err != nil || id.Role() != identity.RoleHub || id.TrustDomain() != h.TrustDomain {
		return Finding{
			Fail, whatTLS, fmt.Sprintf("of the right authority, but no hub of %s: %s", h.TrustDomain, nameOf(leaf)),
			"take hub.trustDomain and hub.address from waterwheel cluster invite",
		}, false
	}
	if state.Version < tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
		return Finding{Fail, whatTLS, fmt.Sprintf("the hub's certificate, but by %s with protocol %q, which no hub does: something in between opens TLS",
			tls.VersionName(state.Version), state.NegotiatedProtocol), "let the connection pass unopened"}, true
	}

	return Finding{OK, whatTLS, fmt.Sprintf("%s, TLS 1.3 end to end", id), ""}, true
}

// verify is what an agent does, whoever the certificate is for.
func verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	between := identity.Pool(chain[1:]...)
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})

	return err
}

// stranger says of a certificate that is not the hub's whose it may be.
func (h Hub) stranger(leaf *x509.Certificate, why string) Finding {
	if id, err := identity.IDOf(leaf); err == nil && id.Role() == identity.RoleHub {
		remedy := "if the hub was made anew, invite this cluster again; else check hub.address and hub.caPin"
		if id.TrustDomain() != h.TrustDomain {
			remedy = "check hub.address: it leads to another fleet"
		}

		return Finding{Fail, whatTLS, fmt.Sprintf("%s answers, but it is not the hub of the invitation: %s", id, why), remedy}
	}

	return Finding{
		Fail, whatTLS, fmt.Sprintf("something in the path ends TLS: it shows %s", nameOf(leaf)),
		"take the hub's address out of TLS inspection, or have the load balancer pass TCP on: agents need the connection end to end " +
			"(HTTP CONNECT proxies do); or hub.address leads to something else",
	}
}

func nameOf(leaf *x509.Certificate) string {
	if len(leaf.URIs) > 0 {
		return fmt.Sprintf("a certificate of %s", leaf.URIs[0])
	}

	return fmt.Sprintf("a certificate of %q, issued by %q", leaf.Subject, leaf.Issuer)
}

// clock compares the clock with the life of the hub's certificate, which is made anew each half day.
func clock(leaf *x509.Certificate, now time.Time) Finding {
	made := leaf.NotBefore.Add(issuedBefore)
	const remedy = "set this host's clock (NTP): certificates are refused while it is wrong"
	switch {
	case now.Before(leaf.NotBefore):
		return Finding{Fail, whatClock, fmt.Sprintf("behind by %s at least: by it, the hub's certificate is not valid before %s",
			leaf.NotBefore.Sub(now).Round(time.Second), leaf.NotBefore.UTC().Format(time.RFC3339)), remedy}
	case now.After(leaf.NotAfter):
		return Finding{Fail, whatClock, fmt.Sprintf("ahead by %s at least, or the hub's is behind: by it, the hub's certificate ended %s",
			now.Sub(leaf.NotAfter).Round(time.Second), leaf.NotAfter.UTC().Format(time.RFC3339)), remedy}
	case now.Before(made):
		return Finding{Warn, whatClock, fmt.Sprintf("behind by %s at least: the hub made its certificate %s",
			made.Sub(now).Round(time.Second), made.UTC().Format(time.RFC3339)), remedy}
	}

	return Finding{OK, whatClock, fmt.Sprintf("%s, within the life of the hub's certificate (%s to %s)", now.UTC().Format(time.RFC3339),
		leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)), ""}
}
