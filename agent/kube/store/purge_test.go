package store

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
)

func TestAPurgeLeavesNothingOfTheAgentAndTouchesNothingElse(t *testing.T) {
	p := newPlace(t)
	p.limited()
	secrets := p.client.CoreV1().Secrets(p.name)
	for _, name := range []string{"waterwheel-agent-join", "waterwheel-agent-keys", "somebody-elses"} {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the role counts", func() bool {
		s, err := NewSecret(p.o.API, p.name, "waterwheel-agent-identity")

		return err == nil && s.Replace("agent.key", []byte("key")) == nil
	})
	s := p.open()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1), recordstest.Order("b", 1, 2, 1, 1)))
	p.patch("b", `{"metadata":{"finalizers":["example.com/kept"]}}`)
	o := Belongings{
		API: p.o.API, Namespace: p.name, ConfigMap: "waterwheel-agent-records",
		Secrets: []string{"waterwheel-agent-join", "waterwheel-agent-keys", "waterwheel-agent-identity"},
	}
	want := []string{
		"FlinkJob a", "FlinkJob b", "ConfigMap waterwheel-agent-records",
		"Secret waterwheel-agent-join", "Secret waterwheel-agent-keys", "Secret waterwheel-agent-identity",
	}
	if left, err := o.Left(t.Context()); err != nil || !slices.Equal(left, want) {
		t.Errorf("there is %v, %v", left, err)
	}

	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	purged := make(chan error, 1)
	go func() {
		_, err := o.Purge(ctx)
		purged <- err
	}()
	await(t, "but for one that is kept, its objects are gone", func() bool {
		left, err := o.Left(t.Context())

		return err == nil && slices.Equal(left, want[1:])
	})
	giveUp()
	if err := <-purged; err == nil || !strings.Contains(err.Error(), "FlinkJob b (waits for example.com/kept)") {
		t.Errorf("err = %v, want what it waits for", err)
	}
	if left, err := o.Left(t.Context()); err != nil || !slices.Equal(left, want[1:]) {
		t.Errorf("left: %v, %v: what stands on records that are not gone went before them", left, err)
	}

	p.patch("b", `{"metadata":{"finalizers":null}}`)
	if n, err := o.Purge(t.Context()); err != nil || n < 4 {
		t.Errorf("purged %d: %v", n, err)
	}
	if left, err := o.Left(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := secrets.Get(t.Context(), "somebody-elses", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if n, err := o.Purge(t.Context()); n != 0 || err != nil {
		t.Errorf("purged twice: %d, %v", n, err)
	}
}

// The API server may carry out a request whose asker has given up on it.
func TestAPurgeThatIsGivenUpAtADeleteSaysWhatIsLeft(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	p.patch("a", `{"metadata":{"finalizers":["example.com/kept"]}}`)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	p.o.API.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodDelete {
				return next.RoundTrip(r)
			}
			answer, err := next.RoundTrip(r.WithContext(t.Context()))
			giveUp()
			if err == nil {
				err = errors.Join(r.Context().Err(), answer.Body.Close())
			}

			return nil, err
		})
	})
	_, err := Belongings{API: p.o.API, Namespace: p.name, ConfigMap: "waterwheel-agent-records"}.Purge(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "FlinkJob a (waits for example.com/kept)") {
		t.Errorf("err = %v", err)
	}
	p.patch("a", `{"metadata":{"finalizers":null}}`)
}
