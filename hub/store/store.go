package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of Open.
type Options struct {
	Dir          string
	Init         bool // make a new hub's files; refused when there are any. Without it missing or empty files are refused
	Logger       *slog.Logger
	MAC          func(FeedRow) []byte  // over all of a row; nil: rows carry none
	MaxEpochSeen int64                 // greatest epoch number known from elsewhere
	Registerer   prometheus.Registerer // nil: no metrics
	MinFreeBytes uint64                // writes are refused below so much free disk space; 0: 64 MiB
}

// Store is the hub's store. Make one with Open.
type Store struct {
	mu          sync.RWMutex // guards view, feeds, subscribers: what readers see of the newest commit
	view        View
	feeds       map[string]*feed
	subscribers map[string]map[chan struct{}]struct{}
}

// Open loads the rows, replays the log and durably begins a new epoch.
func Open(ctx context.Context, o Options) (*Store, error) { return nil, nil }

// Run commits.
func (s *Store) Run(ctx context.Context) error { return nil }

// Close closes.
func (s *Store) Close() error { return nil }

// Write writes.
func (s *Store) Write(ctx context.Context, a Audit, fn func(*Txn) error) (Revision, error) {
	return 0, nil
}

// View is the newest.
func (s *Store) View() View { s.mu.RLock(); defer s.mu.RUnlock(); return s.view }

func (s *Store) Ancestry() []Span                                             { return nil }
func (s *Store) EpochAtLeast(ctx context.Context, number int64) (Epoch, error) { return Epoch{}, nil }
func (s *Store) PutStatuses(ctx context.Context, clusterUID string, rows []StatusRow, durable bool) error {
	return nil
}
func (s *Store) PutNacks(ctx context.Context, clusterUID string, nacks map[string]Nack) error { return nil }
func (s *Store) Status(jobUID string) (StatusRow, bool)                                      { return StatusRow{}, false }
func (s *Store) AuditTail(n int) ([]AuditRecord, error)                                      { return nil, nil }
func (s *Store) SpecHistory(jobUID string) ([]SpecVersion, error)                            { return nil, nil }

// Row is one row of a write, as the log has it.
type Row struct {
	Table, Key string
	Deleted    bool
	Header     []byte // JSON of the row without its body
	Body       []byte
}

var _ = time.Now
