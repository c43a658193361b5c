package enrol

import (
	"context"
	"crypto"
	"errors"

	"google.golang.org/grpc/credentials"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// proof signs a claim for the very connection that a call goes out on. It is the call's credentials, since only there the
// connection is known beforehand.
type proof struct {
	claim identity.Claim
	key   crypto.Signer
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (p proof) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	call, _ := credentials.RequestInfoFromContext(ctx)
	info, ok := call.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, errors.New("proving the enrolment: the connection has no TLS")
	}
	signature, err := p.claim.Sign(&info.State, p.key)
	if err != nil {
		return nil, err
	}

	return map[string]string{identity.ProofKey: string(signature)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (proof) RequireTransportSecurity() bool { return true }
