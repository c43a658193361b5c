package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// Store is what the session needs of the agent's store. Its methods may be called from any goroutine.
type Store interface {
	Records
	Outbox
}

// Records are the rows of the hub.
type Records interface {
	// Standing is what the agent says of its records when it greets, and in each Tick.
	Standing() feed.Standing
	// Record takes a frame whole or not at all, durably, or refuses it with feed.ErrFenced.
	Record(ctx context.Context, f feed.Frame) (feed.Recorded, error)
	// Rejected is a nack for each row on record that is not in force: the hub may have missed it.
	Rejected() []feed.Nack
}

// Outbox is what the hub must not miss.
type Outbox interface {
	// PutReport keeps a status durably until it is settled.
	PutReport(ctx context.Context, uid string, st flink.Status) (feed.Report, error)
	// Reports are the statuses not settled yet, oldest first, at most one a job.
	Reports() []feed.Report
	// Settle forgets reports that the hub has on disk; the jobs among them that are gone are forgotten and returned.
	Settle(ctx context.Context, done []feed.Report) ([]string, error)
}

// Facts is what an agent says about its place.
type Facts struct {
	MemoryTotal   int64 // bytes of declared memory; 0: unlimited
	MemoryUsed    int64
	FlinkVersions []string
}

func (f Facts) equal(o Facts) bool {
	return f.MemoryTotal == o.MemoryTotal && f.MemoryUsed == o.MemoryUsed && slices.Equal(f.FlinkVersions, o.FlinkVersions)
}

// Config of a Client. Store, Address, Credentials, Wake and Encode are required.
type Config struct {
	Store Store

	// Address of the hub, host:port. HTTP CONNECT proxies are used as the environment says.
	Address string
	// DialContext replaces the network, as in tests and behind relays. nil: TCP.
	DialContext func(ctx context.Context, addr string) (net.Conn, error)
	// Credentials of new connections; they must read the certificate anew at each handshake.
	Credentials credentials.TransportCredentials
	// Rotated is signalled when there is a new certificate. nil: never.
	Rotated <-chan struct{}

	// Wake is called with the uids whose order changed, from the session's goroutine. It must not block.
	Wake func(uids []string)
	// Encode brings a status to the wire.
	Encode func(flink.Status) *flinkv1.JobStatus
	// Facts about the place, asked at each Tick. nil: nothing is said.
	Facts func() Facts

	AgentVersion string
	Metrics      *telemetry.Agent // nil: none
	Logger       *slog.Logger     // nil: none
}

func (c Config) validate() error {
	var errs []error
	for what, missing := range map[string]bool{
		"store": c.Store == nil, "address": c.Address == "", "credentials": c.Credentials == nil,
		"wake": c.Wake == nil, "encode": c.Encode == nil,
	} {
		if missing {
			errs = append(errs, errors.New("session: "+what+" is required"))
		}
	}

	return errors.Join(errs...)
}

// The pace of the client.
const (
	ackDelay     = 50 * time.Millisecond  // an ack waits so long for others
	ackBytes     = feed.FrameTarget       // or until so many bytes wait for it
	reportGap    = 250 * time.Millisecond // between two reports without a change of state
	refreshGap   = 10 * time.Second       // before a status is sent of which only the time is new
	reportRows   = 500
	reportBytes  = feed.FrameTarget
	welcomeAfter = 30 * time.Second // a hub that does not answer a Hello within it is none
	rotateRetry  = 30 * time.Second // between tries to open the second stream
	settledAfter = 30 * time.Second // a stream that lived so long was a good one: back-off begins anew
)

// reconnect is how long the client waits between two streams.
func reconnect() run.Backoff { return run.Backoff{Min: 500 * time.Millisecond, Max: 60 * time.Second} }
