package store

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

// verdict is what an object that was seen is, beside what this agent wrote last.
type verdict int

const (
	same    verdict = iota // but for its metadata, which is everybody's
	edited                 // by somebody who is no agent, or an old state of it was brought back
	ahead                  // an earlier life of the agent wrote it after this one had read it
	fenced                 // a later life of the agent wrote it
	foreign                // recorded for another place
)

// judge compares an object that was seen with what was last written or seen. The caller holds h.io.
func (b *backend) judge(h *held, seen *flinkJob) verdict {
	spec, rec := seen.Spec, seen.Status.Agent
	switch {
	case spec.whole() && spec.Site != b.site:
		if h.obj == nil || h.obj.Spec.Site != b.site {
			return foreign
		}

		return edited
	case spec.whole() && spec.Writer > b.writer, rec.whole() && rec.Writer > b.writer:
		return fenced
	case h.obj != nil && spec.same(h.obj.Spec) && seen.Status.same(h.obj.Status):
		return same
	}
	var known feed.Version
	if h.job.Row != nil {
		known = h.job.Row.Version
	}
	if spec.whole() && spec.Received != nil && spec.row(0).Version.Compare(known) > 0 {
		return ahead
	}
	if rec.whole() && rec.Sequence > h.seq {
		return ahead
	}

	return edited
}

// noteMeta takes what people say in the metadata of an object. The caller holds h.io.
func (b *backend) noteMeta(h *held) {
	h.keep = nil
	if v, ok := h.obj.Annotations[HoldAnnotation]; ok {
		h.keep = map[string]string{HoldAnnotation: v}
	}
	next := holdOf(h.obj.ObjectMeta)
	h.obj.ManagedFields = nil
	b.mu.Lock()
	defer b.mu.Unlock()
	if next != nil && h.hold != nil && next.Reason == h.hold.Reason && next.By == "" {
		return // written again by this agent: what it knew of the hold is better
	}
	h.hold = next
}

// holdOf is the hold in an object's metadata, nil for none. Who set it, and when, is what the API server noted.
func holdOf(m metav1.ObjectMeta) *flink.Hold {
	reason, ok := m.Annotations[HoldAnnotation]
	if !ok {
		return nil
	}
	h := &flink.Hold{Reason: reason, Since: m.CreationTimestamp.Time}
	for _, f := range m.ManagedFields {
		if f.Manager == manager || f.FieldsV1 == nil || !ownsHold(f.FieldsV1.GetRawBytes()) {
			continue
		}
		h.By = f.Manager
		if f.Time != nil {
			h.Since = f.Time.Time
		}
	}

	return h
}

func ownsHold(fields []byte) bool {
	var f struct {
		Metadata struct {
			Annotations map[string]any `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if json.Unmarshal(fields, &f) != nil {
		return false
	}
	_, ok := f.Metadata.Annotations["f:"+HoldAnnotation]

	return ok
}

// lastManager names who wrote an object last, as far as the API server tells.
func lastManager(o *flinkJob) string {
	var last metav1.ManagedFieldsEntry
	for _, f := range o.ManagedFields {
		if f.Time != nil && f.Manager != manager && (last.Time == nil || last.Time.Before(f.Time)) {
			last = f
		}
	}

	return last.Manager
}
