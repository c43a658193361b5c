package kube_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Two jobs of one name in one namespace, of two tenants that share it: the first keeps the Service, and nothing is written
// in turns. When it is gone the other has it.
func TestTheServiceOfAJobIsNotTakenByAnotherOfItsName(t *testing.T) {
	c := newCluster(t)
	a := c.agent(c.config())
	one, two := launchOf(uid(1), 1), launchOf(uid(2), 1)
	a.ensure(one)
	a.ensure(two)
	leadsTo := func() string {
		t.Helper()
		svc, err := c.admin.CoreV1().Services(c.namespace).Get(t.Context(), "clicks-rest", metav1.GetOptions{})
		if err != nil {
			return errText(err)
		}
		return svc.Spec.Selector[render.LabelUID]
	}
	for range 3 {
		for _, l := range []flink.Launch{one, two} {
			if err := a.Collect(t.Context(), l.Run.UID, []flink.Run{l.Run}); err != nil {
				t.Fatal(err)
			}
			if got := leadsTo(); got != uid(1) {
				t.Fatalf("it leads to job %s", got)
			}
		}
	}
	if err := a.End(t.Context(), one.Run); err != nil {
		t.Fatal(err)
	}
	c.eventually("the other job has the Service", func() string {
		if err := a.Collect(t.Context(), uid(2), []flink.Run{two.Run}); err != nil {
			return err.Error()
		}
		if got := leadsTo(); got != uid(2) {
			return "it leads to job " + got
		}
		return ""
	})
}

// lagging is the body of a watch that brings nothing while mu is held.
type lagging struct {
	io.ReadCloser

	mu *sync.Mutex
}

func (l lagging) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	return n, err
}

// A watch may show a Service long after it was made: until then it is the job's own all the same.
func TestTheJobsOwnServiceIsNoOthersWhileItIsNotSeenYet(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	c.api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(q)
			if err == nil && q.URL.Query().Get("watch") != "" && strings.HasSuffix(q.URL.Path, "/services") {
				answer.Body = lagging{answer.Body, &mu}
			}
			return answer, err
		})
	})
	a := c.agent(c.config())
	one, two := launchOf(uid(1), 1), launchOf(uid(1), 2)
	a.ensure(one)
	a.ensure(two)
	mu.Lock()
	defer mu.Unlock()
	for _, keep := range [][]flink.Run{{one.Run, two.Run}, {two.Run, one.Run}} {
		if err := a.Collect(t.Context(), uid(1), keep); err != nil {
			t.Fatal(err)
		}
		svc, err := c.admin.CoreV1().Services(c.namespace).Get(t.Context(), "clicks-rest", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := svc.Spec.Selector[render.LabelRun], fmt.Sprint(keep[0].Run); got != want {
			t.Errorf("it leads to run %s, want %s", got, want)
		}
	}
}
