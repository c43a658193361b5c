package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// Limits of the loop.
const (
	maxPasses  = 32               // at once; one that waits for an act holds its place
	resync     = time.Minute      // a job is looked at at least this often, with no event at all
	errorMin   = time.Second      // between looks while looking fails
	errorMax   = 30 * time.Second //
	tellAt     = 2                // passes in a row that failed: one alone is an agent that begins, or a hiccup
	blindLimit = 15 * time.Second // a job that cannot be looked at for so long says so
	saveLimit  = 10 * time.Second // for putting an act's answer on record while stopping
	soonEnough = 10 * time.Millisecond
)

// Config is what a Reconciler works with.
type Config struct {
	Store   Store
	Observe func(context.Context, flink.Order, plan.Memory) (flink.Observed, error)
	Act     func(context.Context, plan.Action, flink.Observed) plan.Outcome
	// Collect removes what is left of a job's runs that are gone, but for those to keep.
	Collect func(ctx context.Context, uid string, keep []flink.Run) error
	// Show takes the newest status for people at the place, just before the memory that belongs to it is saved: a store
	// that keeps both in one object writes once. It may not block. nil: nobody looks.
	Show func(uid string, s flink.Status)
	// Report takes the newest status of a job. An error means that what the hub must not miss is not on record yet.
	Report func(ctx context.Context, order flink.Order, s flink.Status) error
	// Left is called when a job is not on record any more, while nothing else looks at it, and again as long as it
	// is woken all the same.
	Left func(uid string)
	// StateRoot is where the state of a tenant's jobs goes that name no root of their own.
	StateRoot func(tenant string) string
	Metrics   *telemetry.Agent
	Logger    *slog.Logger
}

// Reconciler looks after every job on record, each in a goroutine of its own.
type Reconciler struct {
	cfg   Config
	place chan struct{} // one element per pass under way
	more  chan struct{} // fresh is not empty; size 1

	claims claims

	mu    sync.Mutex               // guards jobs and fresh
	jobs  map[string]chan struct{} // wake signal of each job that is looked after, or about to be
	fresh []string                 // jobs whose loop is not started yet
}

// New makes a Reconciler; Run starts it.
func New(cfg Config) *Reconciler {
	return &Reconciler{
		cfg: cfg, place: make(chan struct{}, maxPasses), more: make(chan struct{}, 1), jobs: map[string]chan struct{}{},
	}
}

// Run looks after the jobs on record, and those that Wake names, until ctx ends.
// It returns when no pass is under way any more.
func (r *Reconciler) Run(ctx context.Context) error {
	uids, err := r.cfg.Store.Jobs(ctx)
	if err != nil {
		return fmt.Errorf("list jobs on record: %w", err)
	}
	for _, uid := range uids {
		r.Wake(uid)
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.more:
		}
		for uid, wake := range r.takeFresh() {
			loops.Go(func() { r.look(ctx, uid, wake) })
		}
	}
}

// Wake has a job looked at soon. It never blocks and may be called from any
// goroutine, before Run and after it too.
func (r *Reconciler) Wake(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wake, ok := r.jobs[uid]
	if !ok {
		wake = make(chan struct{}, 1)
		r.jobs[uid] = wake
		r.fresh = append(r.fresh, uid)
		signal(r.more)
	}
	signal(wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *Reconciler) takeFresh() map[string]chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := make(map[string]chan struct{}, len(r.fresh))
	for _, uid := range r.fresh {
		fresh[uid] = r.jobs[uid]
	}
	r.fresh = nil
	return fresh
}

// look is the loop of one job.
func (r *Reconciler) look(ctx context.Context, uid string, wake chan struct{}) {
	log := r.cfg.Logger.With(telemetry.KeyUID, uid)
	j := &job{uid: uid, log: log}
	timer := time.NewTimer(resync)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		if !r.enter(ctx) {
			return
		}
		next, known, err := r.pass(ctx, j)
		<-r.place
		if err == nil && !known {
			// Before the place is given up: after it, this could undo what the next loop of the same job does.
			r.claims.set(uid, 0)
			r.cfg.Left(uid)
			if r.leave(uid, wake) {
				return
			}
		}
		timer.Reset(r.pause(j, next, err))
	}
}

// enter takes a place among the passes under way; false when ctx ended.
func (r *Reconciler) enter(ctx context.Context) bool {
	select {
	case r.place <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave ends the loop of a job that is not on record, unless it was woken meanwhile.
func (r *Reconciler) leave(uid string, wake chan struct{}) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(wake) > 0 {
		return false
	}
	delete(r.jobs, uid)
	return true
}

// pause is how long to wait for the next look that no event asks for.
func (r *Reconciler) pause(j *job, next time.Time, err error) time.Duration {
	if err == nil {
		if j.errors >= tellAt {
			j.log.Info("job can be looked at again")
		}
		j.errors = 0
		if next.IsZero() {
			return resync
		}
		return min(max(time.Until(next), soonEnough), resync)
	}
	j.errors++
	if j.errors == tellAt || j.errors%20 == 0 {
		j.log.Warn("job cannot be looked at", telemetry.KeyAttempt, j.errors, telemetry.Err(err))
	}
	return min(errorMin<<min(j.errors-1, 10), errorMax)
}

// job is what the loop of one job remembers between passes; all of it can be lost.
type job struct {
	uid       string
	log       *slog.Logger
	errors    int       // passes in a row that failed
	blind     time.Time // since when it cannot be looked at; zero: it can
	situation plan.Situation
	state     flink.JobState
}

// pass looks at a job once, and does at most one thing. known is false when the job is not on record.
func (r *Reconciler) pass(ctx context.Context, j *job) (next time.Time, known bool, err error) {
	rec, ok, err := r.cfg.Store.Load(ctx, j.uid)
	if err != nil {
		return time.Time{}, true, fmt.Errorf("load record: %w", err)
	}
	if !ok {
		return time.Time{}, false, nil
	}
	order := r.effective(rec.Order)
	seen, err := r.cfg.Observe(ctx, order, rec.Memory)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(err, r.unseen(ctx, j, rec.Memory, order, seen, err))
		}
		return time.Time{}, true, err
	}
	j.blind = time.Time{}
	seen.Room.MemoryUsed += r.claims.others(j.uid)
	p := plan.Next(order, seen, rec.Memory, time.Now())
	if p.Situation != plan.StaleObservation {
		r.claims.set(j.uid, claim(p, seen.Runs))
	}
	r.cfg.Metrics.Passes.Inc(string(p.Situation))
	r.changed(j, order, p)
	if r.cfg.Show != nil {
		r.cfg.Show(j.uid, p.Status)
	}
	if err := r.record(ctx, j.uid, rec.Memory, p); err != nil {
		return time.Time{}, true, err
	}
	if err := r.cfg.Report(ctx, order, p.Status); err != nil {
		return time.Time{}, true, err
	}
	if p.Action == nil && seen.Hold == nil {
		if err := r.collect(ctx, j.uid, p); err != nil {
			return time.Time{}, true, err
		}
	}
	if p.Gone {
		if err := r.cfg.Store.Remove(ctx, j.uid); err != nil {
			return time.Time{}, true, fmt.Errorf("forget deleted job: %w", err)
		}
	}
	if p.Action == nil {
		return p.RequeueAt, true, nil
	}
	return p.RequeueAt, true, r.act(ctx, j, p, seen)
}

// unseen tells of a job that cannot be looked at: what was said of it last may not be true any more. A short while is not told.
func (r *Reconciler) unseen(ctx context.Context, j *job, m plan.Memory, order flink.Order, seen flink.Observed, why error) error {
	now := time.Now()
	if j.blind.IsZero() {
		j.blind = now
	}
	if now.Sub(j.blind) < blindLimit {
		return nil
	}
	seen.At, seen.Blind = now, why.Error()
	p := plan.Next(order, seen, m, now)
	r.cfg.Metrics.Passes.Inc(string(p.Situation))
	r.changed(j, order, p)
	if r.cfg.Show != nil {
		r.cfg.Show(j.uid, p.Status)
	}
	if err := r.record(ctx, j.uid, m, p); err != nil {
		return err
	}
	return r.cfg.Report(ctx, order, p.Status)
}

// collect has removed what no record names any more. A job that is gone names nothing.
func (r *Reconciler) collect(ctx context.Context, uid string, p plan.Plan) error {
	var keep []flink.Run
	if !p.Gone {
		keep = named(p.Memory)
	}
	if err := r.cfg.Collect(ctx, uid, keep); err != nil {
		return fmt.Errorf("collect what is left of old runs: %w", err)
	}
	return nil
}

// named are the runs that a memory names, the current one first.
func named(m plan.Memory) []flink.Run {
	var runs []flink.Run
	for _, rec := range []*plan.RunRecord{m.Current, m.Next, m.Previous} {
		if rec != nil {
			runs = append(runs, rec.Run)
		}
	}
	return runs
}

// effective is the order with this place's defaults. Overrides of heal and autoscale come in here.
func (r *Reconciler) effective(o flink.Order) flink.Order {
	if o.Spec.StateStorage.Root == "" {
		o.Spec.StateStorage.Root = r.cfg.StateRoot(o.Tenant)
	}
	return o
}

// record puts what is decided on record, before it is done.
func (r *Reconciler) record(ctx context.Context, uid string, old plan.Memory, p plan.Plan) error {
	if wordsAlone(old, p) {
		if err := r.cfg.Store.NoteMemory(ctx, uid, p.Memory); err != nil {
			return fmt.Errorf("note memory: %w", err)
		}
		return nil
	}
	return r.save(ctx, uid, old, p.Memory)
}

// wordsAlone reports whether a plan changes nothing at the place and remembers nothing new but what was said, and since
// when processes wait: the words are shown within a second, and their record goes with that.
func wordsAlone(old plan.Memory, p plan.Plan) bool {
	if _, checks := p.Action.(plan.Preflight); p.Action != nil && !checks || reflect.DeepEqual(old, p.Memory) {
		return false
	}
	m := p.Memory
	old.Said = m.Said
	old.Current, old.Next = waitingAs(old.Current, m.Current), waitingAs(old.Next, m.Next)
	return reflect.DeepEqual(old, m)
}

// waitingAs is a record of a run that says of its waiting what another of that run says.
func waitingAs(old, now *plan.RunRecord) *plan.RunRecord {
	if old == nil || now == nil || old.Run != now.Run {
		return old
	}
	same := *old
	same.Waiting, same.WorksSince = now.Waiting, now.WorksSince
	return &same
}

// save puts the memory on record, if there is anything new in it.
func (r *Reconciler) save(ctx context.Context, uid string, old, m plan.Memory) error {
	if reflect.DeepEqual(old, m) {
		return nil
	}
	if err := r.cfg.Store.SaveMemory(ctx, uid, m); err != nil {
		return fmt.Errorf("save memory: %w", err)
	}
	return nil
}

// act carries out the plan's action and puts its answer on record, also while stopping.
func (r *Reconciler) act(ctx context.Context, j *job, p plan.Plan, seen flink.Observed) error {
	start := time.Now()
	out := r.cfg.Act(ctx, p.Action, seen)
	outcome := "ok"
	switch {
	case out.Refusal != nil:
		outcome = "refused"
	case out.Err != "":
		outcome = "error"
	}
	r.cfg.Metrics.Acts.Inc(p.Action.Kind(), outcome)
	j.log.Debug("acted", telemetry.KeyAction, p.Action.Kind(), telemetry.KeyOutcome, outcome,
		telemetry.KeyTook, time.Since(start), telemetry.KeyError, out.Err)
	if ctx.Err() != nil && out.Err != "" {
		return nil // interrupted: the answer says nothing
	}
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveLimit)
	defer cancel()
	noted := plan.Note(p.Memory, p.Action, out, time.Now())
	if out.Err != "" || ctx.Err() != nil { // at the end, no record follows
		return r.save(keep, j.uid, p.Memory, noted)
	}
	// That an act went well is seen again, or the act is done again, which leaves the same: it waits for the next record.
	if err := r.cfg.Store.NoteMemory(keep, j.uid, noted); err != nil {
		return fmt.Errorf("note what was done: %w", err)
	}
	return nil
}

// changed logs a change of situation or state.
func (r *Reconciler) changed(j *job, o flink.Order, p plan.Plan) {
	if j.situation == p.Situation && j.state == p.Status.State {
		return
	}
	j.situation, j.state = p.Situation, p.Status.State
	j.log.Info("situation changed", telemetry.KeyJob, o.Tenant+"/"+o.Name, telemetry.KeySituation, p.Situation,
		"state", p.Status.State, telemetry.KeyGeneration, o.Generation, telemetry.KeyRun, p.Status.Run, "message", p.Status.Message)
}
