package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// Peer is who is at the other end of a stream, from its verified certificate.
type Peer struct {
	ClusterUID string
	Serial     string    // of the certificate
	NotAfter   time.Time // the stream ends then
}

// Config of a Server. All but Metrics and Logger are required.
type Config struct {
	Store *store.Store

	// Peer reads the identity of a stream's other end. An error refuses the stream.
	Peer func(ctx context.Context) (Peer, error)
	// Banned reports whether a cluster may no longer speak, by its uid and the serial it shows. It is asked at the
	// beginning, whenever the cluster's row changed, and each 30 s. It must not block.
	Banned func(Peer) bool
	// Gone is called after an agent's word that nothing of a deleted job is left is on disk: it drops the job.
	Gone func(ctx context.Context, clusterUID, jobUID string, term int32) error
	// Decode brings a status from the wire.
	Decode func(uid string, p *flinkv1.JobStatus) flink.Status

	Metrics *telemetry.Hub // nil: none
	Logger  *slog.Logger   // nil: none
}

func (c Config) validate() error {
	var errs []error
	for what, missing := range map[string]bool{
		"store": c.Store == nil, "peer": c.Peer == nil, "banned": c.Banned == nil, "gone": c.Gone == nil, "decode": c.Decode == nil,
	} {
		if missing {
			errs = append(errs, errors.New("session: "+what+" is required"))
		}
	}

	return errors.Join(errs...)
}

// Limits of this end beside those of internal/feed.
const (
	helloWithin      = 20 * time.Second // a stream without Hello is ended
	silentAfter      = feed.DeadAfter*feed.TickEvery + feed.TickEvery/3
	banEvery         = 30 * time.Second
	supersedeWindow  = 5 * time.Minute
	supersedeMax     = 3 // by another instance, in the window; more is two agents with one identity
	reportRows       = 500
	nackText         = 1 << 10 // bytes kept of a nack's text
	statusText       = 4 << 10 // bytes kept of a status's message
	versionText      = 64      // bytes kept of a version of the agent or of Flink
	maxVersions      = 16      // Flink versions of a cluster
	drainRetry       = 2 * time.Second
	unavailableRetry = 5 * time.Second
)

// ServerOptions are the options of the gRPC server on the agents' port, but for its credentials.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ReadBufferSize(0),
		grpc.StaticStreamWindowSize(feed.StreamWindow),
		grpc.StaticConnWindowSize(feed.ConnWindow),
		grpc.MaxRecvMsgSize(feed.MaxMessage),
		grpc.MaxSendMsgSize(feed.MaxMessage),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.MaxConcurrentStreams(16),
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: feed.PingMinInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 2 * feed.PingEvery, Timeout: 2 * feed.PingTimeout,
			MaxConnectionAge: 6 * time.Hour, MaxConnectionAgeGrace: 30 * time.Second, // gRPC adds a jitter of a tenth
		}),
	}
}
