package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records"
)

// Keys of the ConfigMap that holds the agent's place in the hub's stream.
const (
	keyCursorEpoch    = "cursorEpoch"
	keyCursorRevision = "cursorRevision"
	keyMaxEpoch       = "maxEpoch"
	keyReportID       = "reportID"
	keyWriter         = "writer"
	keySite           = "site"
	keySelf           = "self" // uid of this very ConfigMap: a copy of it in another place gives itself away
)

const markEvery = 10 * time.Minute // between looks whether the ConfigMap is still there

// takeOver reads the place in the stream and gives this life of the agent its number, greater than any before it.
func (b *backend) takeOver(ctx context.Context, objects map[string]*flinkJob) (records.Mark, uint64, error) {
	b.mark.Lock()
	defer b.mark.Unlock()
	if err := b.fetchMark(ctx); err != nil {
		return records.Mark{}, 0, err
	}
	if b.site == "" {
		b.site = b.siteOf(objects)
	}
	mark, id := b.marked()
	writer := int64(0)
	if b.config != nil {
		writer = number(b.config.Data[keyWriter])
	}
	for _, o := range objects {
		if o.Spec.whole() && o.Spec.Site == b.site {
			writer = max(writer, o.Spec.Writer)
		}
		if o.Status.Agent.whole() {
			writer = max(writer, o.Status.Agent.Writer)
		}
	}
	// Compare-and-swap: of two that begin at once, one does not.
	if err := b.writeMark(ctx, mark, id, writer+1); err != nil {
		return mark, 0, err
	}
	b.writer = writer + 1

	return mark, id, nil
}

// siteOf is the name of this place: what the ConfigMap says, unless it is a copy. Where there is none, what an object says
// that was written in this very place; else a new one. The caller holds mark.
func (b *backend) siteOf(objects map[string]*flinkJob) string {
	if b.config != nil && len(b.config.Data[keySite]) == 32 {
		if self := b.config.Data[keySelf]; self == "" || self == string(b.config.UID) {
			return b.config.Data[keySite]
		}
		b.log.Error("records were copied here from another place; this agent begins anew, and its hub sends what belongs here", "site", b.config.Data[keySite])
	} else {
		for _, o := range objects {
			if o.Spec.whole() && o.Status.Agent.whole() && o.Status.Agent.Object == string(o.ObjectMeta.UID) {
				return o.Spec.Site
			}
		}
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails

	return hex.EncodeToString(raw[:])
}

// readMark reads the ConfigMap. One that was recorded for another place says nothing about this one.
func (b *backend) readMark(ctx context.Context) (records.Mark, uint64, error) {
	b.mark.Lock()
	defer b.mark.Unlock()
	if err := b.fetchMark(ctx); err != nil {
		return records.Mark{}, 0, err
	}
	m, id := b.marked()

	return m, id, nil
}

// marked is what the ConfigMap says that was read last. The caller holds mark.
func (b *backend) marked() (m records.Mark, id uint64) {
	if b.config == nil || b.config.Data[keySite] != b.site {
		return m, 0
	}
	d := b.config.Data
	m.Cursor.EpochID, m.Cursor.Revision, m.MaxEpoch = d[keyCursorEpoch], number(d[keyCursorRevision]), number(d[keyMaxEpoch])

	return m, uint64(number(d[keyReportID]))
}

// watchMark puts the ConfigMap back where somebody deleted it or wrote over it. Nobody has to be told in time: a life of the
// agent reads it once, at its start.
func (b *backend) watchMark(ctx context.Context) error {
	b.mark.Lock()
	was := b.config
	m, id := b.marked()
	err := b.fetchMark(ctx)
	same := b.config != nil && was != nil && maps.Equal(b.config.Data, was.Data)
	b.mark.Unlock()
	if err != nil || same || was == nil {
		return err
	}
	b.log.Warn("ConfigMap was changed by somebody else; put back", "name", b.o.ConfigMap)

	return b.putMark(ctx, m, id)
}

// fetchMark reads the ConfigMap as it is now. The caller holds mark.
func (b *backend) fetchMark(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	c, err := b.maps.Get(ctx, b.o.ConfigMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		b.config = nil

		return nil
	case err != nil:
		return fmt.Errorf("read ConfigMap %s: %w", b.o.ConfigMap, err)
	}
	b.config = c
	if b.writer > 0 && c.Data[keySite] == b.site && number(c.Data[keyWriter]) > b.writer {
		return b.fence(fmt.Errorf("ConfigMap %s: %w", b.o.ConfigMap, ErrFenced))
	}

	return nil
}

// putMark puts the place in the stream on record, over what people changed, never over a later agent.
func (b *backend) putMark(ctx context.Context, m records.Mark, id uint64) error {
	b.mark.Lock()
	defer b.mark.Unlock()
	var err error
	for range tries {
		if err = b.writeMark(ctx, m, id, b.writer); err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return err
		}
		if err := b.fetchMark(ctx); err != nil {
			return err
		}
	}

	return err
}

// writeMark is one write of the ConfigMap. The caller holds mark.
func (b *backend) writeMark(ctx context.Context, m records.Mark, id uint64, writer int64) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	next := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: b.o.ConfigMap, Labels: map[string]string{"waterwheel.dev/managed-by": "agent"},
	}}
	if b.config != nil {
		next = b.config.DeepCopy()
		next.ManagedFields = nil
		id = max(id, uint64(number(next.Data[keyReportID])))
	}
	next.Data = map[string]string{
		keySelf:        string(next.UID),
		keyCursorEpoch: m.Cursor.EpochID, keyCursorRevision: strconv.FormatInt(m.Cursor.Revision, 10),
		keyMaxEpoch: strconv.FormatInt(m.MaxEpoch, 10), keyReportID: strconv.FormatUint(id, 10),
		keyWriter: strconv.FormatInt(writer, 10), keySite: b.site,
	}
	if b.config != nil && maps.Equal(next.Data, b.config.Data) {
		return nil
	}
	var err error
	if b.config == nil {
		next, err = b.maps.Create(ctx, next, metav1.CreateOptions{FieldManager: manager})
	} else {
		next, err = b.maps.Update(ctx, next, metav1.UpdateOptions{FieldManager: manager})
	}
	if err != nil {
		return fmt.Errorf("write ConfigMap %s: %w", b.o.ConfigMap, err)
	}
	b.config = next
	if next.Data[keySelf] == "" {
		return b.writeMark(ctx, m, id, writer) // now that it has a uid
	}

	return nil
}

// number reads a number that this agent wrote; what people made of it counts as none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}

	return n
}
