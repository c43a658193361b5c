package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/internal/run"
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

	faults faults
}

// faults are how this package's own tests look in and break things.
type faults struct {
	step func(string)                 // called before each step that a kill could come before
	free func(string) (uint64, error) // instead of the disk's own
	log  func(Log) Log                // around the log
}

// Store is the hub's store. Make one with Open; its writes wait for Run.
type Store struct {
	dir     string
	logger  *slog.Logger
	mac     func(FeedRow) []byte
	minFree uint64
	free    func(string) (uint64, error)
	step    func(string)
	metrics *metrics

	log    Log
	rows   *rowsDB
	moving sync.Mutex // one checkpoint at a time; guards rows.head

	// Owned by the committer.
	db    *memdb.MemDB
	head  Revision
	chain []byte // hash of the last audit record
	epoch Epoch

	mu          sync.RWMutex // guards the four below: what readers see of the newest commit
	view        View
	spans       []Span
	feeds       map[string]*feed
	subscribers map[string]map[chan struct{}]struct{}

	observed *observed
	requests chan request
	epochs   chan epochRequest
	full     chan struct{} // size 1: the log is long
	logged   atomic.Int64  // bytes of log since the last checkpoint
	done     chan struct{} // closed when the committer took its last request
}

// Open loads the rows, replays the log and durably begins a new epoch. It refuses, with ErrDamaged, a file that is
// missing, empty, damaged or does not fit the other; with ErrLocked a directory in which another hub runs.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := read(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.beginNext(o.MaxEpochSeen); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

// read is all of Open but the new epoch.
func read(ctx context.Context, o Options) (*Store, error) {
	s := &Store{
		dir: o.Dir, logger: o.Logger, mac: o.MAC, minFree: cmp.Or(o.MinFreeBytes, defaultMinFree),
		free: freeBytes, step: func(string) {},
		feeds: map[string]*feed{}, subscribers: map[string]map[chan struct{}]struct{}{}, observed: newObserved(),
		requests: make(chan request, maxQueue), epochs: make(chan epochRequest),
		full: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if o.faults.free != nil {
		s.free = o.faults.free
	}
	if o.faults.step != nil {
		s.step = o.faults.step
	}
	var err error
	if s.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if o.Init {
		if err := create(o.Dir); err != nil {
			return nil, err
		}
	}
	if err := s.openFiles(ctx); err != nil {
		return nil, err
	}
	if o.faults.log != nil {
		s.log = o.faults.log(s.log)
	}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

const defaultMinFree = 64 << 20

func (s *Store) openFiles(ctx context.Context) error {
	logPath, rowsPath := filepath.Join(s.dir, logFile), filepath.Join(s.dir, rowsFile)
	logDB, err := openFile(ctx, logPath)
	if err != nil {
		return err
	}
	rowsDB, err := openFile(ctx, rowsPath)
	if err != nil {
		return errors.Join(err, logDB.Close())
	}
	logID, logErr := identity(logDB, bucketLog)
	rowsID, rowsErr := identity(rowsDB, bucketRows, bucketStubs, bucketEpochs, bucketObserved, bucketHistory, bucketAudit)
	switch {
	case logErr != nil:
		err = damaged(logPath, logErr)
	case rowsErr != nil:
		err = damaged(rowsPath, rowsErr)
	case logID != rowsID:
		err = damaged(logPath, fmt.Errorf("belongs to another hub than %s", rowsFile))
	}
	if err == nil {
		err = errors.Join(upgrade(logDB), upgrade(rowsDB))
	}
	if err == nil {
		var l *boltLog
		l, logErr = openLog(logDB)
		s.log = l
		s.rows, rowsErr = openRows(rowsDB)
		err = errors.Join(logErr, rowsErr)
	}
	if err != nil {
		return errors.Join(err, logDB.Close(), rowsDB.Close())
	}
	return nil
}

// load brings everything into memory.
func (s *Store) load(ctx context.Context) error {
	db, err := newMemory()
	if err != nil {
		return err
	}
	l := loader{db: db, txn: db.Txn(true)}
	logPath, rowsPath := filepath.Join(s.dir, logFile), filepath.Join(s.dir, rowsFile)
	if err := guarded(rowsPath, func() error { return s.rows.load(l.row) }); err != nil {
		return damaged(rowsPath, err)
	}
	l.head = s.rows.head
	if err := guarded(logPath, func() error { return s.log.Load(ctx, 0, l.record) }); err != nil {
		return damaged(logPath, err)
	}
	if l.newest < l.head {
		return damaged(logPath, fmt.Errorf("ends at revision %d, but %s has %d: it is older", l.newest, rowsFile, l.head))
	}
	l.txn.Commit()
	s.db, s.head, s.chain = db, l.head, l.chain
	s.view = viewOf(s.db, s.head, s.epoch)
	s.fillFeeds()
	err = guarded(rowsPath, func() (err error) {
		if s.spans, err = s.rows.spans(); err != nil {
			return err
		}
		return s.rows.loadObserved(func(r StatusRow) {
			if _, ok := s.view.Job(r.JobUID); ok {
				s.observed.rows[r.JobUID] = r
			} else {
				s.observed.dirty[r.JobUID] = struct{}{}
			}
		})
	})
	if err != nil {
		return damaged(rowsPath, err)
	}
	return nil
}

func (s *Store) fillFeeds() {
	orders := all[*FeedRow](s.db.Txn(false), tableOrders)
	slices.SortFunc(orders, func(a, b *FeedRow) int { return cmp.Compare(a.Version.Revision, b.Version.Revision) })
	for _, o := range orders {
		if s.feeds[o.ClusterUID] == nil {
			s.feeds[o.ClusterUID] = &feed{}
		}
		s.feeds[o.ClusterUID].set(o.UID, o)
	}
}

// loader applies rows and then records to an empty memory.
type loader struct {
	db     *memdb.MemDB
	txn    *memdb.Txn
	n      int
	head   Revision // applied
	newest Revision // in the log
	chain  []byte
}

func (l *loader) row(r Row) error {
	if r.Deleted {
		unindex(l.txn, r.Table, r.Key)
		remove(l.txn, r.Table, r.Key)
	} else {
		v, err := decodeValue(r)
		if err != nil {
			return err
		}
		unindex(l.txn, r.Table, r.Key)
		insert(l.txn, r.Table, r.Key, v)
		index(l.txn, v)
	}
	if l.n++; l.n%maxMemdbRows == 0 {
		l.txn.Commit()
		l.txn = l.db.Txn(true)
	}
	return nil
}

func (l *loader) record(r Record) error {
	if r.Revision > l.head+1 || l.newest != 0 && r.Revision != l.newest+1 {
		return fmt.Errorf("revisions %d to %d are missing", max(l.head, l.newest)+1, r.Revision-1)
	}
	l.newest = r.Revision
	for _, row := range r.Rows {
		if row.Table == tableAudit {
			l.chain = link(row.Header)
		}
		if r.Revision <= l.head || !slices.Contains(memoryTables, row.Table) {
			continue // rows.db has it already, or memory never has
		}
		if err := l.row(row); err != nil {
			return fmt.Errorf("revision %d: %w", r.Revision, err)
		}
	}
	l.head = max(l.head, r.Revision)
	return nil
}

// Run commits, writes statuses behind, and checkpoints, until ctx ends; then it flushes what is left. It returns an
// error when the disk failed: what is durable is unknown then, and the process must end without serving any further.
// Run once.
func (s *Store) Run(ctx context.Context) error {
	err := run.Tasks(ctx,
		run.Task{Name: "committer", Run: s.commits},
		run.Task{Name: "statuses", Run: s.writes},
		run.Task{Name: "checkpointer", Run: s.checkpoints},
	)
	if err != nil {
		return fmt.Errorf("hub store: %w", err)
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("hub store: %w", err)
	}
	return nil
}

// Close releases the files. Call it after Run returned.
func (s *Store) Close() error { return s.closeFiles() }

func (s *Store) closeFiles() error { return errors.Join(s.log.Close(), s.rows.db.Close()) }

// View is the state at the newest commit.
func (s *Store) View() View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.view
}
