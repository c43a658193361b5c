package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
	"github.com/waterwheel-io/waterwheel/flink"
)

// api is the API server of all tests of this package; each has a namespace of its own.
var api *rest.Config

var spaces atomic.Int32

const patience = 2 * time.Minute // a client may wait for one before it lists again

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) int {
	server, err := apiserver.Start(context.Background(), apiserver.Options{}) //nolint:forbidigo // it is for all tests
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if api, err = clientcmd.BuildConfigFromFlags("", server.Kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}
	api.QPS = -1

	return m.Run()
}

func crds() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// install has the API server know FlinkJob.
func install(t *testing.T) {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal(CRD(), &u.Object); err != nil {
		t.Fatal(err)
	}
	d := person(t)
	await(t, "FlinkJob is known", func() bool {
		now, err := d.Resource(crds()).Apply(t.Context(), u.GetName(), &u, metav1.ApplyOptions{FieldManager: "helm"})
		if err != nil || now.GetDeletionTimestamp() != nil {
			return false // one that a test deleted is still going
		}
		// Its status is written by what also tells those who serve objects: a list alone may be answered for the one before.
		conditions, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
		established := slices.ContainsFunc(conditions, func(c any) bool {
			m, ok := c.(map[string]any)

			return ok && m["type"] == "Established" && m["status"] == "True"
		})
		_, err = d.Resource(resource()).Namespace("default").List(t.Context(), metav1.ListOptions{})

		return err == nil && established
	})
}

// uninstall has the API server forget FlinkJob, with all objects.
func uninstall(t *testing.T) {
	t.Helper()
	all := person(t)
	d := all.Resource(crds())
	name := resource().GroupResource().String()
	if err := d.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "FlinkJob is not known any more", func() bool {
		if _, err := d.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return false
		}
		_, err := all.Resource(resource()).Namespace("default").List(t.Context(), metav1.ListOptions{}) // served for a moment longer

		return apierrors.IsNotFound(err)
	})
}

// person is somebody with kubectl.
func person(t *testing.T) dynamic.Interface {
	t.Helper()
	cfg := rest.CopyConfig(api)
	cfg.UserAgent = "kubectl"
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}

	return d
}

func await(t *testing.T, what string, seen func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !seen() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not seen within %s: %s", patience, what)
		}
	}
}

// place is one namespace with an agent's records in it.
type place struct {
	t       *testing.T
	name    string
	objects dynamic.ResourceInterface // as a person
	client  kubernetes.Interface
	o       Options
	calls   *calls
}

func newPlace(t *testing.T) *place {
	t.Helper()
	install(t)
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("store-%d", spaces.Add(1))
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, name: name, objects: person(t).Resource(resource()).Namespace(name), client: client, calls: &calls{}}
	cfg := rest.CopyConfig(api)
	cfg.Wrap(p.calls.over)
	p.o = Options{API: cfg, Namespace: name, Decode: recordstest.Decode, Readable: readSpec}

	return p
}

func readSpec(s flink.Spec) ([]byte, error) { return records.Marshal(s), nil }

func (p *place) open() *Store {
	p.t.Helper()
	s, err := Open(p.t.Context(), p.o)
	if err != nil {
		p.t.Fatal(err)
	}

	return s
}

// run opens the records and follows the objects until the test ends, or stop is called. Woken jobs go to woken.
func (p *place) run() (s *Store, woken chan string, stop func() error) {
	p.t.Helper()
	s = p.open()
	woken = make(chan string, 100)
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(uid string) { woken <- uid }) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()

		return errors.Join(<-done, s.Close())
	}
	p.t.Cleanup(func() { _ = stop() })

	return s, woken, stop
}

// object is the object of a job as a person sees it.
func (p *place) object(name string) *flinkJob {
	p.t.Helper()
	u, err := p.objects.Get(p.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	o, err := read(u)
	if err != nil {
		p.t.Fatal(err)
	}

	return o
}

// patch changes an object as a person does.
func (p *place) patch(name, change string, sub ...string) {
	p.t.Helper()
	if _, err := p.objects.Patch(p.t.Context(), name, types.MergePatchType, []byte(change), metav1.PatchOptions{FieldManager: "kubectl-edit"}, sub...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) delete(name string) {
	p.t.Helper()
	if err := p.objects.Delete(p.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// calls counts an agent's requests, and can have its connection die.
type calls struct {
	writes atomic.Int64
	all    atomic.Int64
	left   atomic.Int64 // writes until it dies, when armed
	armed  atomic.Bool
	deaf   atomic.Bool // the write that it dies at is done, and its answer lost
}

var errDied = errors.New("the agent died here")

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *calls) over(next http.RoundTripper) http.RoundTripper {
	return tripper(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.RawQuery, "watch=") {
			c.all.Add(1)
		}
		if r.Method == http.MethodGet {
			if c.armed.Load() && c.left.Load() < 0 {
				return nil, errDied
			}

			return next.RoundTrip(r)
		}
		c.writes.Add(1)
		if !c.armed.Load() {
			return next.RoundTrip(r)
		}
		switch left := c.left.Add(-1); {
		case left >= 0:
			return next.RoundTrip(r)
		case left == -1 && c.deaf.Load():
			if resp, err := next.RoundTrip(r); err == nil {
				_ = resp.Body.Close()
			}

			return nil, errDied
		default:
			return nil, errDied
		}
	})
}

// die has the agent's connection die at the n-th write from now.
func (c *calls) die(n int64, deaf bool) {
	c.left.Store(n)
	c.deaf.Store(deaf)
	c.armed.Store(true)
}

func (c *calls) live() { c.armed.Store(false) }
