package process

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Config says where a Runtime works and with what.
type Config struct {
	Dir         string            // the agent's own; also its name on this host: two agents need two
	Dists       map[string]string // Flink version ("2.3" or "2.3.0") → unpacked distribution, with lib/ in it
	Java        string            // the java command
	UsrLib      string            // local:///opt/flink/usrlib/X is X in here; default: Dir/usrlib
	StateRoot   string            // of checkpoints and savepoints: a file: URI or absolute path; default: Dir/state
	MemoryTotal int64             // bytes that all runs together may declare; 0: unlimited
	Grace       time.Duration     // from TERM to KILL when a run is ended; default 10 s
	Logger      *slog.Logger      // default: none
}

// Runtime keeps the Flink clusters of runs as processes of this host. All
// methods may be called from many goroutines.
type Runtime struct {
	cfg  Config
	site string        // marks this agent's processes
	poke chan struct{} // size 1: look again

	mu       sync.Mutex // guards all below; held over a scan, so that there is one at a time
	seen     []found
	seenAt   time.Time                // zero: look before you answer
	declared map[string]int64         // bytes by run name, of runs that live
	admitted map[string]int64         // bytes by run name, of runs being brought up
	locked   map[string]chan struct{} // runs that are being changed; closed when done
	reasons  map[string]string        // last words by log path, of processes that have ended
}

// fresh is how old a look at the processes may be for an answer.
const fresh = 200 * time.Millisecond

// New returns a Runtime. Processes that an earlier one with the same Dir has
// left are its own from the start. It creates Dir.
func New(cfg Config) (*Runtime, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "runs"), 0o750)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir) // one place, one name
	}
	if err != nil {
		return nil, fmt.Errorf("open the runs' directory: %w", err)
	}
	cfg.Dir = dir
	cfg.UsrLib = cmp.Or(cfg.UsrLib, filepath.Join(dir, "usrlib"))
	cfg.StateRoot = cmp.Or(cfg.StateRoot, filepath.Join(dir, "state"))
	cfg.Grace = cmp.Or(cfg.Grace, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	sum := sha256.Sum256([]byte(dir))
	return &Runtime{
		cfg: cfg, site: hex.EncodeToString(sum[:6]), poke: make(chan struct{}, 1),
		declared: map[string]int64{}, admitted: map[string]int64{},
		locked: map[string]chan struct{}{}, reasons: map[string]string{},
	}, nil
}

// StateRoot is where the state of runs goes whose spec names no root.
func (r *Runtime) StateRoot() string { return r.cfg.StateRoot }

func (r *Runtime) dir(run string) runDir { return runDir(filepath.Join(r.cfg.Dir, "runs", run)) }

// processes lists this site's processes as of at most maxAge ago.
func (r *Runtime) processes(maxAge time.Duration) ([]found, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.look(maxAge)
}

// look is processes for callers that hold mu.
func (r *Runtime) look(maxAge time.Duration) ([]found, error) {
	if !r.seenAt.IsZero() && time.Since(r.seenAt) < maxAge {
		return r.seen, nil
	}
	all, err := scanProcesses(procfs, r.site)
	if err != nil {
		r.seenAt = time.Time{}
		return nil, err
	}
	r.seen, r.seenAt = all, time.Now()
	alive := living(all)
	maps.DeleteFunc(r.declared, func(run string, _ int64) bool { return !alive[run] })
	return all, nil
}

// lookAgain makes the next answer a new one, and wakes the watch.
func (r *Runtime) lookAgain() {
	r.mu.Lock()
	r.seenAt = time.Time{}
	r.mu.Unlock()
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// living is the set of runs of which a process exists.
func living(all []found) map[string]bool {
	runs := make(map[string]bool)
	for _, f := range all {
		runs[f.run] = true
	}
	return runs
}

// of keeps the processes of one run.
func of(all []found, run string) []found {
	var own []found
	for _, f := range all {
		if f.run == run {
			own = append(own, f)
		}
	}
	return own
}

// lock makes the caller the only one who changes a run.
func (r *Runtime) lock(ctx context.Context, run string) (unlock func(), err error) {
	for {
		r.mu.Lock()
		held, taken := r.locked[run]
		if !taken {
			done := make(chan struct{})
			r.locked[run] = done
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.locked, run)
				r.mu.Unlock()
				close(done)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for run %s: %w", run, context.Cause(ctx))
		}
	}
}

// memoryOf is what a run declares; 0 when that cannot be read. The caller holds mu.
func (r *Runtime) memoryOf(run string) int64 {
	if n, ok := r.declared[run]; ok {
		return n
	}
	rec, ok, err := r.dir(run).read()
	if err != nil || !ok {
		return 0
	}
	n := rec.Launch.Spec.MemoryBytes()
	r.declared[run] = n
	return n
}

// used is the declared memory of all runs that live or are being brought up,
// but for one. The caller holds mu.
func (r *Runtime) used(all []found, but string) int64 {
	runs := living(all)
	for run := range r.admitted {
		runs[run] = true
	}
	delete(runs, but)
	var sum int64
	for run := range runs {
		if n, ok := r.admitted[run]; ok {
			sum += n
		} else {
			sum += r.memoryOf(run)
		}
	}
	return sum
}

// admit takes room for a run until release is called; by then its processes
// stand for it. It refuses what does not fit.
func (r *Runtime) admit(l flink.Launch) (release func(), err error) {
	run, want := l.Run.Name(), l.Spec.MemoryBytes()
	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := r.look(0)
	if err != nil {
		return nil, err
	}
	used := r.used(all, run)
	if r.cfg.MemoryTotal > 0 && used+want > r.cfg.MemoryTotal {
		return nil, refuse(flink.RefusedNoRoom, "the run declares %s of memory, %s of %s are free",
			mebi(want), mebi(max(r.cfg.MemoryTotal-used, 0)), mebi(r.cfg.MemoryTotal))
	}
	r.admitted[run] = want
	return func() {
		r.mu.Lock()
		delete(r.admitted, run)
		r.mu.Unlock()
	}, nil
}

func mebi(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// refuse makes a definite no.
func refuse(kind flink.RefusalKind, format string, args ...any) *flink.Refusal {
	return &flink.Refusal{Kind: kind, Cause: flink.Cause{Message: fmt.Sprintf(format, args...)}}
}

// runsOf lists the runs of a job, oldest first: those with a directory, and
// those with nothing but processes.
func (r *Runtime) runsOf(uid string, all []found) ([]flink.Run, error) {
	entries, err := os.ReadDir(filepath.Join(r.cfg.Dir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	names := living(all)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), uid) {
			names[e.Name()] = true
		}
	}
	var runs []flink.Run
	for name := range names {
		if run, ok := parseRun(name); ok && run.UID == uid {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b flink.Run) int {
		return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Run, b.Run))
	})
	return runs, nil
}
