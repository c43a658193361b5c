package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/hub/session"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// drainLimit is how long calls that are under way may take at the end.
const drainLimit = 10 * time.Second

// roleAgent refuses on the agents' port whoever is not an agent, and agents that are no members any more.
func roleAgent(check func(identity.Peer) error) func(identity.Peer) error {
	return func(p identity.Peer) error {
		if p.ID.Role() != identity.RoleCluster {
			return fmt.Errorf("%w: this is the agents' port", admin.ErrDenied)
		}

		return check(p)
	}
}

// newAgentServer makes the gRPC server for agents. No handshake outlives ctx; streams do.
func newAgentServer(ctx context.Context, src identity.Source, trustDomain string, check func(identity.Peer) error, log *slog.Logger) *grpc.Server {
	creds := credentials.NewTLS(identity.ServerTLS(identity.Server{
		Source: src, TrustDomain: trustDomain, Check: roleAgent(check),
		AllowAnonymous: true, // a token is the proof of who joins; the table refuses all else
	}))

	return grpc.NewServer(append(session.ServerOptions(),
		grpc.Creds(newTurnstile(ctx, creds, log)),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := authorize(ctx, info.FullMethod, log); err != nil {
				return nil, err
			}

			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := authorize(stream.Context(), info.FullMethod, log); err != nil {
				return err
			}

			return next(srv, stream)
		}),
	)...)
}

// authorize asks the table. FullMethod is the name under which gRPC found a handler, not what the caller wrote.
func authorize(ctx context.Context, method string, log *slog.Logger) error {
	caller, err := grpcCaller(ctx)
	if err == nil {
		err = admin.Authorize(method, caller)
	}
	if err == nil {
		return nil
	}
	log.Warn("call refused", telemetry.KeyMethod, method, telemetry.KeyPeer, caller.String(), telemetry.Err(err))
	if caller.IsZero() {
		return status.Error(codes.Unauthenticated, err.Error())
	}

	return status.Error(codes.PermissionDenied, err.Error())
}

// grpcCaller is the zero ID for a caller without a certificate.
func grpcCaller(ctx context.Context) (identity.ID, error) {
	p, err := grpcPeer(ctx)
	if errors.Is(err, identity.ErrAnonymous) {
		return identity.ID{}, nil
	}

	return p.ID, err
}

// grpcPeer is the other end of a call's connection.
func grpcPeer(ctx context.Context) (identity.Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Peer{}, errors.New("call without a connection")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return identity.Peer{}, errors.New("call without TLS")
	}

	return identity.PeerOf(&info.State)
}

// sessionPeer is the cluster at the other end of a stream. The table has seen that it is one.
func sessionPeer(ctx context.Context) (session.Peer, error) {
	p, err := grpcPeer(ctx)
	if err != nil {
		return session.Peer{}, err
	}

	return session.Peer{ClusterUID: p.ID.Name(), Serial: p.Serial, NotAfter: p.NotAfter}, nil
}

// serveAgents serves until ctx ends, then lets the streams, which drain has told to end, finish for a moment.
func serveAgents(ctx context.Context, srv *grpc.Server, lis net.Listener, drain func()) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		drain()
		late := time.AfterFunc(drainLimit, srv.Stop)
		defer late.Stop()
		srv.GracefulStop()
	})
	err := srv.Serve(lis)
	if stop() { // Serve ended by itself
		return fmt.Errorf("serving agents: %w", err)
	}
	<-stopped

	return nil
}
