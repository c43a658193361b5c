package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// oneSecret is an API server that has one Secret, or none, and takes its time.
type oneSecret struct {
	takes time.Duration

	mu     sync.Mutex
	secret *corev1.Secret
}

func (o *oneSecret) set(s *corev1.Secret) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.secret = s
}

func (o *oneSecret) get() *corev1.Secret {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.secret
}

// RoundTrip implements http.RoundTripper.
func (o *oneSecret) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(o.takes):
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	code, answer := http.StatusOK, any(o.get())
	switch {
	case r.Method == http.MethodPost:
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		made := &corev1.Secret{}
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(sent, nil, made); err != nil {
			return nil, err
		}
		made.TypeMeta = metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}
		o.set(made)
		code, answer = http.StatusCreated, made
	case o.get() == nil:
		code = http.StatusNotFound
		answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text))}, nil
}

func TestTheKeysOutliveTheirSecretWhileAnAgentKnowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &oneSecret{takes: time.Second}
		rt, err := New(Config{API: &rest.Config{Host: "http://api.invalid", Transport: server}, Namespace: "agent", Keys: "keys"})
		if err != nil {
			t.Fatal(err)
		}
		master, err := rt.masterSecret(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = rt.Run(ctx, func(string) {})
		}()
		there := func(when string) {
			t.Helper()
			if s := server.get(); s == nil || !bytes.Equal(s.Data[masterKey], master) || len(master) == 0 {
				t.Errorf("%s the keys are %v", when, s)
			}
		}
		server.set(nil)
		time.Sleep(keysEvery + time.Minute)
		there("a look later")
		server.set(nil)
		cancel()
		<-done
		there("after the end of the agent that knew them")
	})
}
