package kube

import (
	"net/http"
	"testing"

	"k8s.io/client-go/rest"
)

func TestAPodGoesToItsAPIServerWithoutAProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	cfg := &rest.Config{Host: "https://10.0.0.1:443"}
	direct(cfg)
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	plain, ok := transport.(*http.Transport)
	if !ok || plain.Proxy == nil {
		t.Fatalf("%T says nothing of a proxy", transport)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	if to, err := plain.Proxy(req); to != nil || err != nil {
		t.Errorf("goes through %s, %v", to, err)
	}
}
