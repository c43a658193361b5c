package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
)

// MaxRequestBytes bounds a request, a compressed one after decompression.
const MaxRequestBytes = 512 << 10

// Config is what the handlers translate to. Every field is required but Count. The funcs may be called from many
// goroutines at once; who is a SPIFFE ID.
type Config struct {
	Store *store.Store

	// Apply creates or changes a job; result is created, configured or unchanged.
	Apply   func(ctx context.Context, who string, want flink.Job, expect *int32) (job store.Job, result string, err error)
	Delete  func(ctx context.Context, who, tenant, name string, policy flink.DeletePolicy, expect *int32) (store.Job, error)
	Restart func(ctx context.Context, who, tenant, name, from string) (store.Job, error)

	Invite func(ctx context.Context, who, name string) (Invitation, error)
	Remove func(ctx context.Context, who, name string, force bool) error

	// IssueAdmin gives an admin a certificate over the key of a request.
	IssueAdmin func(ctx context.Context, who, name string, csr []byte) (AdminCertificate, error)

	// Session is what is known about the session of a cluster.
	Session func(clusterUID string) Session

	// Explain says what kind of refusal an error of the funcs above is.
	Explain func(error) Refusal

	// Count is told the code of every call, "ok" or as Connect spells it.
	Count  func(method, code string)
	Logger *slog.Logger
}

// Invitation is what a new agent needs.
type Invitation struct {
	Cluster     store.Cluster
	Token       string
	ExpiresAt   time.Time
	CAPin       string
	CABundle    string // PEM
	HubAddress  string // host:port
	TrustDomain string
}

// AdminCertificate is what a new admin needs.
type AdminCertificate struct {
	Certificate string // PEM, leaf first
	CABundle    string // PEM
	SPIFFEID    string
	NotAfter    time.Time
	HubAddress  string // host:port
}

// Session is what the hub knows about a cluster beside its row. All but Up and LastSeen may be the last words of a
// session that ended.
type Session struct {
	Up            bool
	LastSeen      time.Time // of the last frame; zero: not since the hub started
	AgentVersion  string
	Pending       int    // rows that the agent has not acked
	Resumes       int    // streams that began with RESUME since the hub started
	Message       string // why it is not in sync; "" when it is
	MemoryTotal   int64
	MemoryUsed    int64
	FlinkVersions []string
}

// Handler is the admin API, to be served behind TLS that has verified the client's certificate.
func Handler(cfg Config) http.Handler {
	if cfg.Count == nil {
		cfg.Count = func(string, string) {}
	}
	s := &service{cfg: cfg}
	server := connect.NewServer(s.guard)
	adminv1connect.RegisterTenantServiceHandler(server, s)
	adminv1connect.RegisterAdminServiceHandler(server, s)
	adminv1connect.RegisterClusterServiceHandler(server, s)
	adminv1connect.RegisterJobServiceHandler(server, s)
	// A misspelt field in JSON is refused, as it is in a manifest: dropping it would do something else than was asked.
	json := connectproto.NewJSONCodec()
	json.UnmarshalOptions.DiscardUnknown = false
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(MaxRequestBytes),
		connecthttp.WithCodecs(connectproto.NewBinaryCodec(), json))

	return mux
}

// service implements the services.
type service struct{ cfg Config }

type callerKey struct{}

// whoIs is the caller that guard let in.
func whoIs(ctx context.Context) string {
	id, _ := ctx.Value(callerKey{}).(identity.ID)

	return id.String()
}

// guard knows the caller by the connection, refuses by the table, turns errors into Connect's and counts.
func (s *service) guard(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		caller := callerOf(ctx)
		err := Authorize(spec.Procedure, caller)
		if err == nil {
			err = next(context.WithValue(ctx, callerKey{}, caller), spec, stream)
		}
		if err == nil {
			s.cfg.Count(spec.Procedure, "ok")

			return nil
		}
		wire := s.wireError(err)
		s.cfg.Count(spec.Procedure, wire.Code().String())
		s.logRefusal(ctx, spec.Procedure, caller, wire, err)

		return wire
	}
}

// callerOf is the zero ID if there is no client certificate.
func callerOf(ctx context.Context) identity.ID {
	info, ok := connecthttp.ServerInfoForContext(ctx)
	if !ok || info.TLS() == nil {
		return identity.ID{}
	}
	peer, err := identity.PeerOf(info.TLS())
	if err != nil {
		return identity.ID{}
	}

	return peer.ID
}
