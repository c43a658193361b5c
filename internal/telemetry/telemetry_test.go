package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))

	return w.Code, w.Body.String()
}

func TestLoggerFormatsAndLevels(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not written")
	log.Warn("written", telemetry.KeyJob, "clicks", telemetry.Err(errors.New("broken")))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if line["msg"] != "written" || line["job"] != "clicks" || line["err"] != "broken" {
		t.Errorf("got %v", line)
	}
	for _, tc := range [][2]string{{"xml", ""}, {"text", "loud"}} {
		if _, err := telemetry.NewLogger(io.Discard, tc[0], tc[1]); err == nil {
			t.Errorf("format %q, level %q: accepted", tc[0], tc[1])
		}
	}
}

func TestReadinessSaysWhyNot(t *testing.T) {
	notReady := errors.New("replaying the log")
	h := telemetry.Handler(telemetry.Config{
		Registry: telemetry.NewRegistry("v0"), Ready: func() error { return notReady },
		Handlers: map[string]http.Handler{"GET /jobs": http.NotFoundHandler()},
	})
	if code, body := get(t, h, "/readyz"); code != http.StatusServiceUnavailable || body != "replaying the log\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get(t, h, "/healthz"); code != http.StatusOK {
		t.Errorf("health must not depend on readiness: %d", code)
	}
	notReady = nil
	if code, _ := get(t, h, "/readyz"); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
}

func TestMetricsOfHubAndAgent(t *testing.T) {
	reg := telemetry.NewRegistry("v1.2")
	hub, agent := telemetry.NewHub(reg), telemetry.NewAgent(reg, "connecting", "open")
	telemetry.ExpiryGauge(reg, func() time.Time { return time.Time{} })
	hub.Sessions.Set(2)
	hub.DispatchSeconds.Observe(0.003)
	hub.AdminRequests.Inc("ApplyJob", "ok")
	hub.Nacks.Inc("unknown_version")
	hub.Reattests.Inc("given")
	agent.Passes.Inc("InSync")
	agent.Acts.Inc("StartRun", "done")
	agent.Session.Set("connecting")
	agent.Session.Set("open")
	_, body := get(t, telemetry.Handler(telemetry.Config{Registry: reg}), "/metrics")
	for _, want := range []string{
		`waterwheel_build_info{version="v1.2"} 1`,
		`waterwheel_hub_sessions 2`,
		`waterwheel_hub_dispatch_seconds_count 1`,
		`waterwheel_hub_admin_requests_total{code="ok",method="ApplyJob"} 1`,
		`waterwheel_hub_nacks_total{reason="unknown_version"} 1`,
		`waterwheel_hub_reattests_total{outcome="given"} 1`,
		`waterwheel_agent_passes_total{situation="InSync"} 1`,
		`waterwheel_agent_acts_total{kind="StartRun",outcome="done"} 1`,
		`waterwheel_agent_session_state{state="connecting"} 0`,
		`waterwheel_agent_session_state{state="open"} 1`,
		`waterwheel_svid_seconds_to_expiry 0`,
		`go_goroutines`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	hub := telemetry.NewHub(reg)
	for i := range 1000 {
		hub.AdminRequests.Inc(fmt.Sprintf("method-%d", i), "ok")
	}
	_, body := get(t, telemetry.Handler(telemetry.Config{Registry: reg}), "/metrics")
	if got := strings.Count(body, "waterwheel_hub_admin_requests_total{"); got != 129 {
		t.Errorf("%d combinations, want 128 and the rest", got)
	}
	if want := `waterwheel_hub_admin_requests_total{code="other",method="other"} 872`; !strings.Contains(body, want) {
		t.Errorf("no %s", want)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	cfg := telemetry.Config{Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)}
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "example.org:0", "10.0.0.1:0", "127.0.0.1"} {
		cfg.Addr = addr
		if s, err := telemetry.Listen(t.Context(), cfg); !errors.Is(err, telemetry.ErrNotLoopback) {
			t.Errorf("%s: got %v, %v; want ErrNotLoopback", addr, s, err)
		}
	}
	cfg.Addr, cfg.AllowExternal = "0.0.0.0:0", true
	s, err := telemetry.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatalf("told to: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestProbesTellNothingButHealth(t *testing.T) {
	cfg := telemetry.Probes("0.0.0.0:0", nil, slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusNotFound, "/status": http.StatusNotFound} {
		if code, _ := get(t, telemetry.Handler(cfg), path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	s, err := telemetry.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatalf("probes come from other hosts: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestServerServesUntilItsContextEnds(t *testing.T) {
	s, err := telemetry.Listen(t.Context(), telemetry.Config{
		Addr: "127.0.0.1:0", Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %d, %v", resp.StatusCode, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v, want nil", err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("it still answers")
	}
}
