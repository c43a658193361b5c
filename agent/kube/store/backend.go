package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

const (
	callLimit = 15 * time.Second // for one request
	abreast   = 8                // objects of one commit that are written at the same time
	tries     = 5                // of one write, when others write the same object
)

// Errors that callers tell apart.
var (
	// ErrFenced says that a later life of the agent has written: this one must end.
	ErrFenced = errors.New("a later agent has taken over the records")
	// ErrNoCRD says that the API server does not know FlinkJob.
	ErrNoCRD = errors.New("this API server does not know FlinkJob objects: install or upgrade the chart waterwheel-agent, which brings the CustomResourceDefinition flinkjobs.agent.waterwheel.dev")

	errAhead = errors.New("the object was written by somebody else meanwhile")
)

// backend is the API server as the backend of records.
type backend struct {
	o    Options
	log  *slog.Logger
	jobs dynamic.ResourceInterface
	api  rest.Interface // of the same objects, for writes
	maps typedcorev1.ConfigMapInterface
	site string

	writer int64 // this life of the agent; set by the first Load
	mark   sync.Mutex
	config *corev1.ConfigMap // as last seen or written; nil: there is none. Guarded by mark

	mu     sync.Mutex // guards what follows
	held   map[string]*held
	parked map[string]string // resource version of the objects that are not acted upon, by name
	due    map[string]time.Time
	fenced chan struct{} // closed when fencing was met
	why    error         // of the fence
}

// held is one object that stands for a job.
type held struct {
	uid  string
	name string

	io   sync.Mutex // held while the object is written; guards what follows
	obj  *flinkJob  // as last seen or written; nil: there is none
	job  records.Job
	seq  int64             // of the agent's record in it
	keep map[string]string // annotations of people, for an object that is written again
	used *flink.Status     // the status that was written last
	said spec              // what specOf made
	from records.Job       // of this; its row is nil: nothing yet

	// Guarded by the backend's mu.
	leaving  bool
	doubtful bool // it could not be put back when all was read again
	hold     *flink.Hold
	status   *flink.Status // newest that people are to see; nil: as it stands in the object
	last     shown         // of the planner, as it stands in the object
	wrote    time.Time
}

// Site implements records.Backend.
func (b *backend) Site() string { return b.site }

// Close implements records.Backend.
func (b *backend) Close() error { return nil }

// Commit implements records.Backend: objects first, then the place in the stream.
func (b *backend) Commit(ctx context.Context, c records.Change) error {
	if err := b.fence(nil); err != nil {
		return err
	}
	errs := make(chan error, len(c.Edits))
	places := make(chan struct{}, abreast)
	for _, e := range c.Edits {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			errs <- b.edit(ctx, e)
		}()
	}
	var first error
	for range c.Edits {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil || c.Mark == nil {
		return first
	}

	return b.putMark(ctx, *c.Mark, c.ReportID)
}

func (b *backend) edit(ctx context.Context, e records.Edit) error {
	h := b.hold(e.UID)
	h.io.Lock()
	defer h.io.Unlock()
	if e.New.IsZero() {
		return b.remove(ctx, h)
	}
	h.job = e.New

	return b.put(ctx, h)
}

// hold is the object of a job, which may not be there yet.
func (b *backend) hold(uid string) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := objectName(uid)
	h, ok := b.held[name]
	if !ok {
		h = &held{uid: uid, name: name}
		b.held[name] = h
	}
	h.leaving = false

	return h
}

// put makes the object say what is to be on record, with as many writes as that takes: none where nothing differs. The
// caller holds h.io.
func (b *backend) put(ctx context.Context, h *held) error {
	var err error
	for range tries {
		if err = b.putOnce(ctx, h); err == nil {
			b.wrote(h)

			return nil
		}
		switch {
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			if err := b.meet(ctx, h); err != nil {
				return err
			}
		case apierrors.IsNotFound(err) && h.obj != nil:
			b.log.Warn("FlinkJob was deleted by somebody else; written again", telemetry.KeyUID, h.uid)
			h.obj = nil
		default:
			return fmt.Errorf("write FlinkJob %s: %w", h.name, unknown(err))
		}
	}

	return fmt.Errorf("write FlinkJob %s: %w", h.name, err)
}

// putOnce writes spec, then status. A crash in between leaves the new order beside the memory of the old one, which is
// what a planner meets at every new order.
func (b *backend) putOnce(ctx context.Context, h *held) error {
	want := b.specOf(h)
	switch {
	case h.obj == nil:
		o := &flinkJob{Spec: want}
		o.ObjectMeta.Name = h.name
		o.Labels = map[string]string{"waterwheel.dev/managed-by": "agent", "waterwheel.dev/uid": label(h.uid)}
		if want.Tenant != "" {
			o.Labels["waterwheel.dev/tenant"], o.Labels["waterwheel.dev/job"] = label(want.Tenant), label(want.Name)
		}
		o.Annotations = h.keep
		if err := b.write(ctx, h, o, b.create); err != nil {
			return err
		}
	case !h.obj.Spec.same(want):
		o := *h.obj
		o.Spec = want
		if err := b.write(ctx, h, &o, b.update); err != nil {
			return err
		}
	}
	b.mu.Lock()
	st := h.status
	b.mu.Unlock()
	h.used = st
	was := h.obj.Status
	next, err := encodeStatus(h.job, st, was, time.Now())
	if err != nil {
		return err
	}
	next.Agent.Object = string(h.obj.ObjectMeta.UID)
	if next.same(was) || st == nil && next.empty() && was.empty() {
		return nil
	}
	o := *h.obj
	o.Status = next
	o.Status.Agent.Writer, o.Status.Agent.Sequence = b.writer, h.seq+1
	o.Status.Agent.Checksum = o.Status.Agent.seal()
	if err := b.write(ctx, h, &o, b.updateStatus); err != nil {
		return err
	}
	h.seq = o.Status.Agent.Sequence

	return nil
}

// specOf is the spec of the job on record, encoded once: most writes are of other things. The caller holds h.io.
func (b *backend) specOf(h *held) spec {
	j := h.job
	if j.Row == nil || j.Row != h.from.Row || !sameBytes(j.Body, h.from.Body) {
		h.said, h.from = b.encodeSpec(h.uid, j), records.Job{Row: j.Row, Body: j.Body}
	}

	return h.said
}

// sameBytes reports whether two slices are one.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// meet takes the object as it is now, after a write that somebody else was ahead of.
func (b *backend) meet(ctx context.Context, h *held) error {
	seen, err := b.get(ctx, h.name)
	if apierrors.IsNotFound(err) {
		h.obj = nil

		return nil
	}
	if err != nil {
		return fmt.Errorf("read FlinkJob %s: %w", h.name, err)
	}

	return b.face(ctx, h, seen)
}

// face takes an object that is not as this agent wrote it last: what people changed is taken or will be put back, what
// another life of the agent wrote is an error. The caller holds h.io.
func (b *backend) face(ctx context.Context, h *held, seen *flinkJob) error {
	switch b.judge(h, seen) {
	case foreign:
		return b.replace(ctx, h, seen)
	case fenced:
		return b.fence(fmt.Errorf("FlinkJob %s: %w", h.name, ErrFenced))
	case ahead:
		return fmt.Errorf("FlinkJob %s: %w", h.name, errAhead)
	case edited:
		b.log.Warn("FlinkJob was changed by somebody else; put back", telemetry.KeyUID, h.uid, "by", lastManager(seen))
	case same:
	}
	h.obj, h.seq = seen, max(h.seq, seen.Status.Agent.Sequence)
	b.noteMeta(h)

	return nil
}

// replace makes way for the order of this place's hub where an object of another place stands: what that place remembered
// is nothing to go by. A hold on it stays.
func (b *backend) replace(ctx context.Context, h *held, seen *flinkJob) error {
	b.log.Warn("FlinkJob of another place gives way to an order of this one", telemetry.KeyUID, h.uid, "site", seen.Spec.Site)
	h.obj = seen
	b.noteMeta(h)
	if err := b.delete(ctx, seen); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete FlinkJob %s of another place: %w", h.name, err)
	}
	h.obj, h.seq = nil, 0

	return nil
}

// remove forgets the object of a job. The caller holds h.io.
func (b *backend) remove(ctx context.Context, h *held) error {
	b.mu.Lock()
	h.leaving = true
	b.mu.Unlock()
	for range tries {
		if h.obj == nil {
			break
		}
		err := b.delete(ctx, h.obj)
		switch {
		case err == nil, apierrors.IsNotFound(err):
			h.obj = nil
		case apierrors.IsConflict(err):
			if err := b.meet(ctx, h); err != nil {
				return err
			}
		default:
			return fmt.Errorf("delete FlinkJob %s: %w", h.name, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.due, h.uid)
	delete(b.held, h.name)

	return nil
}

// wrote keeps what stands in the object now, for the pace of what follows. The caller holds h.io.
func (b *backend) wrote(h *held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.last, h.wrote = h.obj.Status.planned(), time.Now()
	if h.status == h.used { // else a newer one came meanwhile, and is due
		delete(b.due, h.uid)
	}
}

// write carries out one request and keeps the object as it came back.
func (b *backend) write(ctx context.Context, h *held, o *flinkJob, do func(context.Context, *flinkJob) (*flinkJob, error)) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	now, err := do(ctx, o)
	if err != nil {
		return err
	}
	h.obj = now
	b.noteMeta(h)

	return nil
}

func (b *backend) create(ctx context.Context, o *flinkJob) (*flinkJob, error) {
	return b.send(ctx, b.api.Post(), o)
}

func (b *backend) update(ctx context.Context, o *flinkJob) (*flinkJob, error) {
	return b.send(ctx, b.api.Put().Name(o.ObjectMeta.Name), o)
}

func (b *backend) updateStatus(ctx context.Context, o *flinkJob) (*flinkJob, error) {
	return b.send(ctx, b.api.Put().Name(o.ObjectMeta.Name).SubResource("status"), o)
}

// send writes an object and returns it as the API server has it then. It is made of these bytes and read from those: every
// job is written several times in its life, and nothing in between is of use.
func (b *backend) send(ctx context.Context, r *rest.Request, o *flinkJob) (*flinkJob, error) {
	sent := *o
	sent.TypeMeta = metav1.TypeMeta{APIVersion: group + "/" + version, Kind: kind}
	sent.ManagedFields = nil
	res := r.Namespace(b.o.Namespace).Resource(plural).Param("fieldManager", manager).Body(text(sent)).Do(ctx)
	if err := res.Error(); err != nil {
		return nil, err
	}
	answer, err := res.Raw()
	if err != nil {
		return nil, err
	}

	return parse(sent.ObjectMeta.Name, answer)
}

func (b *backend) delete(ctx context.Context, o *flinkJob) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()

	return b.jobs.Delete(ctx, o.ObjectMeta.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &o.ObjectMeta.UID, ResourceVersion: &o.ResourceVersion},
	})
}

func (b *backend) get(ctx context.Context, name string) (*flinkJob, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	u, err := b.jobs.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}

	return read(u)
}

// later reports whether one resource version is after another. Such that cannot be compared are.
func later(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)

	return err != nil || c > 0
}

// fence keeps that a later agent was met, and returns what was kept.
func (b *backend) fence(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && b.why == nil {
		b.why = err
		close(b.fenced)
	}

	return b.why
}
