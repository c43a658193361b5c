package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/run"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// The pace of writes that are for people, or that can be read again.
const (
	// Lazy is how long a newer checkpoint, or an age, waits to be written while nothing else changes.
	Lazy = 15 * time.Minute
	soon = time.Second // how long a status waits for the memory that may follow it
	look = time.Second // between looks at what is due
)

// Options of Open. API, Namespace and Decode are required.
type Options struct {
	API       *rest.Config
	Namespace string // the agent's own
	ConfigMap string // of the place in the stream; default: waterwheel-agent-records
	// Site names the place, 32 hex digits; default: what is on record, or a new one. Records that were copied here from
	// another place do not say so.
	Site string
	// Decode reads and validates the body of an order, as in records.Options.
	Decode func(body []byte) (flink.Order, error)
	// Readable is a spec as JSON in the form in which people write it; nil: none is shown.
	Readable func(flink.Spec) ([]byte, error)
	Lazy     time.Duration // default: Lazy
	Logger   *slog.Logger  // default: none
}

// Store is the agent's records in its cluster's API server. All methods may be called from any goroutine. Run has to run
// for what is changed by hand to be put back, for holds to be seen, and for statuses to be shown.
type Store struct {
	*records.Store

	b *backend

	mu   sync.Mutex // guards wake
	wake func(uid string)
}

// Open reads all records and begins a new life of the agent: an older one that still writes is fenced. It is for the
// holder of the lease alone. It tries again until ctx ends, unless the API server refuses or does not know FlinkJob (ErrNoCRD).
func Open(ctx context.Context, o Options) (*Store, error) {
	o.ConfigMap = cmp.Or(o.ConfigMap, "waterwheel-agent-records")
	o.Lazy = cmp.Or(o.Lazy, Lazy)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	api := rest.CopyConfig(o.API)
	api.UserAgent, api.QPS = manager, -1 // writes are bounded by what they are for
	objects, err := dynamic.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	api.APIPath, api.GroupVersion, api.NegotiatedSerializer = "/apis", new(resource().GroupVersion()), scheme.Codecs.WithoutConversion()
	api.ContentType, api.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	writes, err := rest.RESTClientFor(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	for attempt := 0; ; attempt++ {
		s, err := open(ctx, o, objects, writes, client)
		if err == nil || errors.Is(err, ErrNoCRD) || errors.Is(err, ErrFenced) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return s, err
		}
		o.Logger.Warn("records cannot be read yet", telemetry.KeyAttempt, attempt+1, telemetry.Err(err))
		wait := time.NewTimer(run.Backoff{Min: 250 * time.Millisecond, Max: 10 * time.Second}.Next(attempt, rand.Float64()))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()

			return nil, fmt.Errorf("%w; the last try: %w", ctx.Err(), err)
		}
	}
}

func open(ctx context.Context, o Options, objects dynamic.Interface, writes rest.Interface, client kubernetes.Interface) (*Store, error) {
	b := &backend{
		o: o, log: o.Logger, site: o.Site,
		jobs: objects.Resource(resource()).Namespace(o.Namespace), api: writes, maps: client.CoreV1().ConfigMaps(o.Namespace),
		held: map[string]*held{}, parked: map[string]string{}, due: map[string]time.Time{}, fenced: make(chan struct{}),
	}
	s := &Store{b: b}
	kept, err := records.New(ctx, b, records.Options{Decode: o.Decode, Later: b.later, Wake: s.woken})
	if err != nil {
		return nil, err
	}
	s.Store = kept

	return s, nil
}

// woken passes on the jobs whose records were found changed.
func (s *Store) woken(uids []string) {
	s.mu.Lock()
	wake := s.wake
	s.mu.Unlock()
	if wake == nil {
		return
	}
	for _, uid := range uids {
		wake(uid)
	}
}

// Holds is a person's word that nothing may be changed of a job; nil: there is none.
func (s *Store) Holds(uid string) *flink.Hold {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	h, ok := s.b.held[objectName(uid)]
	if !ok || h.hold == nil {
		return nil
	}

	return new(*h.hold)
}

// PutStatus shows people the newest status of a job, soon: at once when what it says is another thing, within Options.Lazy
// when only ages or the newest checkpoint are new. It never blocks. A job that is not on record is shown nowhere.
func (s *Store) PutStatus(uid string, st flink.Status) {
	next := show(st)
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.held[objectName(uid)]
	if !ok || h.leaving {
		return
	}
	h.status = &st
	switch {
	case next.gist() != h.last.gist():
		b.dueAt(uid, time.Now().Add(soon))
	case !next.same(h.last):
		b.dueAt(uid, h.wrote.Add(b.o.Lazy))
	}
}

// later is told that a job's memory waits to be put on record.
func (b *backend) later(uid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, ok := b.held[objectName(uid)]; ok {
		b.dueAt(uid, h.wrote.Add(b.o.Lazy))
	}
}

// dueAt asks for a write at a time, or sooner. The caller holds mu.
func (b *backend) dueAt(uid string, at time.Time) {
	if old, ok := b.due[uid]; !ok || at.Before(old) {
		b.due[uid] = at
	}
}
