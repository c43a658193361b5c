package session

import (
	"google.golang.org/grpc"

	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

// Register puts SyncService on a gRPC server.
func (s *Server) Register(server grpc.ServiceRegistrar) { agentv1.RegisterSyncServiceServer(server, s) }
