package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

const page = 200 // objects of one answer to a list

// Why an object is not acted upon, as the reason of its condition Rejected.
const (
	reasonSite   = "OtherPlace"
	reasonEdited = "NotWhole"
)

// situationRejected is what an object that is not acted upon shows in place of a job's situation.
const situationRejected = "Rejected"

// Load implements records.Backend. The first one begins a new life of the agent: from then on an older one is fenced. A
// later one also puts back what is not as it was written.
func (b *backend) Load(ctx context.Context) (records.Contents, error) {
	if err := b.fence(nil); err != nil {
		return records.Contents{}, err
	}
	objects, at, err := b.list(ctx)
	if err != nil {
		return records.Contents{}, err
	}
	c := records.Contents{Jobs: make(map[string]records.Job, len(objects))}
	if b.writer == 0 {
		if c.Mark, c.ReportID, err = b.takeOver(ctx, objects); err != nil {
			return c, err
		}
		for _, o := range objects {
			if err := b.adopt(ctx, o, c.Jobs); err != nil {
				return c, err
			}
		}

		return c, nil
	}
	if c.Mark, c.ReportID, err = b.readMark(ctx); err != nil {
		return c, err
	}

	c.Doubts = map[string]error{}

	return c, b.again(ctx, objects, at, c)
}

// list reads all objects, and the resource version at which they stood so.
func (b *backend) list(ctx context.Context) (map[string]*flinkJob, string, error) {
	out := map[string]*flinkJob{}
	opts := metav1.ListOptions{Limit: page}
	for {
		call, cancel := context.WithTimeout(ctx, callLimit)
		l, err := b.jobs.List(call, opts)
		cancel()
		switch {
		case apierrors.IsNotFound(err):
			return nil, "", unknown(err)
		case apierrors.IsForbidden(err):
			return nil, "", fmt.Errorf("list FlinkJob objects: %w; the chart's Role waterwheel-agent allows it", err)
		case err != nil:
			return nil, "", fmt.Errorf("list FlinkJob objects: %w", err)
		}
		for i := range l.Items {
			o, err := read(&l.Items[i])
			if err != nil {
				return nil, "", err
			}
			out[o.ObjectMeta.Name] = o
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return out, l.GetResourceVersion(), nil
		}
	}
}

// unknown says of an answer that there is no such thing whether that is FlinkJob itself.
func unknown(err error) error {
	said, ok := errors.AsType[*apierrors.StatusError](err)
	if ok && apierrors.IsNotFound(err) && said.ErrStatus.Details != nil && said.ErrStatus.Details.Name == "" {
		return fmt.Errorf("%w (%w)", ErrNoCRD, err)
	}

	return err
}

// adopt takes an object that is met for the first time into the jobs on record, or says why not.
func (b *backend) adopt(ctx context.Context, o *flinkJob, jobs map[string]records.Job) error {
	spec, rec := o.Spec, o.Status.Agent
	switch {
	case spec.whole() && spec.Site != b.site:
		b.park(ctx, o, reasonSite, otherPlace(o))

		return nil
	case spec.whole() && spec.Writer > b.writer, rec.whole() && rec.Writer > b.writer:
		return b.fence(fmt.Errorf("FlinkJob %s: %w", o.ObjectMeta.Name, ErrFenced))
	case spec.UID == "" || objectName(spec.UID) != o.ObjectMeta.Name:
		b.park(ctx, o, reasonEdited, notOurs)

		return nil
	}
	job := *o
	if !rec.whole() {
		b.log.Error("memory of a job was changed by somebody else and is not believed; its runs are found by what exists", telemetry.KeyUID, spec.UID, "by", lastManager(o))
		job.Status.Agent = agentRecord{}
	}
	if !spec.whole() {
		b.park(ctx, o, reasonEdited, "Changed by somebody else while no agent ran; not acted upon until the hub sends the order again")
		job.Spec = spec.bare()
	}
	j, err := job.job()
	if err != nil {
		return err
	}
	h := b.hold(spec.UID)
	h.io.Lock()
	defer h.io.Unlock()
	h.obj, h.job, h.seq = o, j, max(h.seq, rec.Sequence)
	b.noteMeta(h)
	b.wrote(h)
	jobs[h.uid] = j

	return nil
}

// bare is a spec that knows no order.
func (s spec) bare() spec { return spec{UID: s.UID} }

// again takes what is there now beside what is held. What is missing or was changed by hand is put back. Where that is
// refused of one object, its job alone is in doubt.
func (b *backend) again(ctx context.Context, objects map[string]*flinkJob, at string, c records.Contents) error {
	b.mu.Lock()
	known := make([]*held, 0, len(b.held))
	for _, h := range b.held {
		known = append(known, h)
	}
	b.mu.Unlock()
	for _, h := range known {
		o := objects[h.name]
		delete(objects, h.name)
		err := b.settle(ctx, h, o, at, c.Jobs)
		if err != nil && !ofOne(err) {
			return err
		}
		if err != nil {
			c.Doubts[h.uid] = err
		}
		b.tell(h, err)
	}
	for _, o := range objects {
		if err := b.adopt(ctx, o, c.Jobs); err != nil {
			return err
		}
	}

	return nil
}

// ofOne reports whether an error says something of one object, and not of the API server or of who writes.
func ofOne(err error) bool {
	if errors.Is(err, ErrFenced) || errors.Is(err, errAhead) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return false
	}

	return !slices.Contains([]metav1.StatusReason{
		metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonServiceUnavailable, metav1.StatusReasonUnauthorized,
	}, apierrors.ReasonForError(err))
}

// tell says of a job that it is in doubt, and that it is not any more, once each.
func (b *backend) tell(h *held, doubt error) {
	b.mu.Lock()
	was := h.doubtful
	h.doubtful = doubt != nil
	b.mu.Unlock()
	switch {
	case doubt != nil && !was:
		b.log.Error("FlinkJob cannot be put back; its job runs on, and is not acted upon until it can", telemetry.KeyUID, h.uid, "name", h.name, telemetry.Err(doubt))
	case doubt == nil && was:
		b.log.Info("FlinkJob is on record again; its job is acted upon", telemetry.KeyUID, h.uid, "name", h.name)
	}
}

// settle is again for one job. o is nil where the list has none.
func (b *backend) settle(ctx context.Context, h *held, o *flinkJob, at string, jobs map[string]records.Job) error {
	h.io.Lock()
	defer h.io.Unlock()
	b.mu.Lock()
	leaving := h.leaving
	b.mu.Unlock()
	switch {
	case o == nil && leaving:
		b.mu.Lock()
		delete(b.held, h.name)
		b.mu.Unlock()

		return nil
	case o == nil && h.obj != nil && later(h.obj.ResourceVersion, at):
	case o == nil && h.job.IsZero():
		return nil // was never there
	case o == nil:
		h.obj = nil
		if err := b.put(ctx, h); err != nil {
			return err
		}
	case h.obj != nil && later(h.obj.ResourceVersion, o.ResourceVersion):
	default:
		switch b.judge(h, o) {
		case ahead, same:
			j, err := o.job()
			if err != nil {
				return err
			}
			h.obj, h.job, h.seq = o, j, max(h.seq, o.Status.Agent.Sequence)
			b.noteMeta(h)
			b.wrote(h)
		default:
			if err := b.face(ctx, h, o); err != nil {
				return err
			}
			if err := b.put(ctx, h); err != nil {
				return err
			}
		}
	}
	b.mu.Lock()
	h.leaving = false
	b.mu.Unlock()
	if !h.job.IsZero() {
		jobs[h.uid] = h.job
	}

	return nil
}

const notOurs = "Not written by the agent, which does not act on it: jobs are declared at the hub"

func otherPlace(o *flinkJob) string {
	return "Recorded for another place (" + o.Spec.Site + "); this agent does not act on it, and its hub sends what belongs here"
}

// park leaves an object alone and says why, in the log and on the object itself.
func (b *backend) park(ctx context.Context, o *flinkJob, reason, message string) {
	name := o.ObjectMeta.Name
	b.mu.Lock()
	known := b.parked[name] == o.ResourceVersion
	b.mu.Unlock()
	if known {
		return
	}
	b.log.Error("FlinkJob is not acted upon", "name", name, "reason", reason, "message", message, "by", lastManager(o))
	was := o.Status
	next := was
	next.Conditions = nil
	for _, c := range was.Conditions {
		if c.Type != conditionRejected {
			next.Conditions = append(next.Conditions, c)
		}
	}
	reject(&next, was, reason, message, time.Now())
	next.Situation, next.Message = situationRejected, clip(message) // what lists of it show
	rv := o.ResourceVersion
	if !next.same(was) {
		told := *o
		told.Status = next
		call, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		switch now, err := b.updateStatus(call, &told); {
		case err != nil:
			b.log.Warn("FlinkJob that is not acted upon cannot be told so", "name", name, telemetry.Err(err))
		default:
			rv = now.ResourceVersion
			o.ResourceVersion, o.Status = now.ResourceVersion, now.Status
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parked[name] = rv
}
