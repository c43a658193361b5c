package admin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/hub/store"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	"github.com/waterwheel-io/waterwheel/internal/identity/identitytest"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	"github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1/adminv1connect"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// desk is the admin API over real TLS on loopback and a real store; what it calls are closures of the test.
type desk struct {
	t         *testing.T
	authority *identitytest.Authority
	store     *store.Store
	cfg       *admin.Config
	base      string

	mu       sync.Mutex // guards what follows
	sessions map[string]admin.Session
	counts   map[string]int
}

// newDesk serves; change is applied to the configuration before.
func newDesk(t *testing.T, change func(*desk, *admin.Config)) *desk {
	t.Helper()
	d := &desk{t: t, authority: identitytest.New(t, "td"), sessions: map[string]admin.Session{}, counts: map[string]int{}}
	var err error
	d.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir(), Init: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d.cfg = &admin.Config{
		Store: d.store, Logger: slog.New(slog.DiscardHandler),
		Session: func(uid string) admin.Session { d.mu.Lock(); defer d.mu.Unlock(); return d.sessions[uid] },
		Explain: func(err error) admin.Refusal { return admin.Refusal{Text: err.Error()} },
		Count:   func(method, code string) { d.mu.Lock(); defer d.mu.Unlock(); d.counts[method+" "+code]++ },
	}
	if change != nil {
		change(d, d.cfg)
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.base = "https://" + lis.Addr().String()
	srv := &http.Server{
		Handler: admin.Handler(*d.cfg), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		TLSConfig: identity.ServerTLS(identity.Server{
			Source: d.authority.Source(d.authority.Hub(time.Hour)), TrustDomain: "td", NextProtos: []string{"h2", "http/1.1"},
			Check: func(identity.Peer) error { return nil }, // the table is tested here, not the port
		}),
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = srv.ServeTLS(lis, "", "") })
	running.Go(func() { _ = d.store.Run(ctx) })
	t.Cleanup(func() {
		_ = srv.Close()
		stop()
		running.Wait()
		_ = d.store.Close()
	})

	return d
}

// client is an HTTP client with a certificate.
func (d *desk) client(cert *tls.Certificate) *http.Client {
	tr := &http.Transport{
		TLSClientConfig: identity.ClientTLS(identity.Client{
			Source: d.authority.Source(cert), TrustDomain: "td", NextProtos: []string{"h2", "http/1.1"},
		}),
		ForceAttemptHTTP2: true,
	}
	d.t.Cleanup(tr.CloseIdleConnections)

	return &http.Client{Transport: tr}
}

// post is what curl does.
func (d *desk) post(cert *tls.Certificate, method, body string) (int, map[string]any) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.base+"/waterwheel.admin.v1."+method, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client(cert).Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		d.t.Fatalf("%s: %q is not JSON: %v", method, text, err)
	}

	return resp.StatusCode, got
}

func (d *desk) write(fn func(*store.Txn)) {
	d.t.Helper()
	_, err := d.store.Write(d.t.Context(), store.Audit{Who: "test", Verb: "test"}, func(txn *store.Txn) error {
		fn(txn)

		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// fill puts the tenant, two clusters and n jobs on the first.
func (d *desk) fill(n int) {
	d.t.Helper()
	d.write(func(txn *store.Txn) {
		txn.PutTenant(store.Tenant{Name: "default"})
		txn.PutCluster(store.Cluster{UID: "c1", Name: "eu-1", State: store.ClusterJoined})
		txn.PutCluster(store.Cluster{UID: "c2", Name: "eu-2", State: store.ClusterInvited})
		for i := range n {
			uid := fmt.Sprintf("u%03d", i)
			txn.PutJob(store.Job{Job: flink.Job{
				UID: uid, Tenant: "default", Name: fmt.Sprintf("job-%03d", i), Generation: 1, Spec: flink.Spec{Cluster: "eu-1"},
			}})
			txn.PutAssignment(flink.Assignment{JobUID: uid, ClusterUID: "c1", Term: 1})
			txn.PutOrder(store.FeedRow{ClusterUID: "c1", UID: uid, Generation: 1, Term: 1})
		}
	})
}

func (d *desk) admin() *tls.Certificate { return d.authority.Admin("jo", time.Hour) }

func TestEachProtocolOfConnectIsServed(t *testing.T) {
	d := newDesk(t, nil)
	d.fill(1)
	for name, opts := range map[string][]connecthttp.Option{
		"connect": nil, "json": {connecthttp.WithProtoJSON()}, "grpc": {connecthttp.WithGRPC()}, "grpc-web": {connecthttp.WithGRPCWeb()},
	} {
		c := connect.NewClient(connecthttp.NewTransport(d.client(d.admin()), d.base, opts...))
		resp, err := adminv1connect.NewTenantServiceClient(c).ListTenants(t.Context(), new(adminv1.ListTenantsRequest))
		if err != nil || len(resp.GetItems()) != 1 || resp.GetItems()[0].GetName() != "default" {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	if code, got := d.post(d.admin(), "TenantService/ListTenants", "{}"); code != 200 || fmt.Sprint(got) != "map[items:[map[name:default]]]" {
		t.Errorf("curl: %d %v", code, got)
	}
}

func TestAgentsAreRefusedAndCounted(t *testing.T) {
	d := newDesk(t, nil)
	for _, method := range []string{"JobService/ListJobs", "ClusterService/InviteCluster", "TenantService/ListTenants"} {
		if code, got := d.post(d.authority.Cluster("c1", time.Hour), method, "{}"); code != 403 || got["code"] != "permission_denied" {
			t.Errorf("%s: %d %v, want permission_denied", method, code, got)
		}
		if n := d.counts["/waterwheel.admin.v1."+method+" permission_denied"]; n != 1 {
			t.Errorf("%s: counted %d refusals, want 1", method, n)
		}
	}
}

func TestWhoIsTheCertificateAndNothingElse(t *testing.T) {
	var who string
	d := newDesk(t, func(_ *desk, c *admin.Config) {
		c.Remove = func(_ context.Context, by, _ string, _ bool) error { who = by; return nil }
	})
	if code, got := d.post(d.admin(), "ClusterService/RemoveCluster", `{"name":"eu-1"}`); code != 200 || who != "spiffe://td/admin/jo" {
		t.Errorf("%d %v, written as %q", code, got, who)
	}
}

func TestErrorsHaveTheirCodesAndFieldsTheirFaults(t *testing.T) {
	errOurs, errFault := errors.New("ours"), errors.New("secret path of the disk")
	var give error
	d := newDesk(t, func(_ *desk, c *admin.Config) {
		c.Apply = func(context.Context, string, flink.Job, *int32) (store.Job, string, error) {
			return store.Job{}, "", give
		}
		c.Explain = func(err error) admin.Refusal {
			if errors.Is(err, errOurs) {
				return admin.Refusal{Kind: admin.Changed, Text: "somebody changed it"}
			}

			return admin.Refusal{Text: err.Error()}
		}
	})
	faults := []flink.Fault{{Field: "spec.parallelism", Value: "-1", Remedy: "must be 1 to 1024"}, {Field: "spec.jar.uri", Remedy: "is required"}}
	for _, c := range []struct {
		err  error
		code connect.Code
		text string
	}{
		{admin.Refusal{Kind: admin.Invalid, Text: "two faults", Faults: faults}, connect.CodeInvalidArgument, "two faults"},
		{fmt.Errorf("apply: %w", errOurs), connect.CodeAborted, "somebody changed it"},
		{admin.Refusal{Kind: admin.State, Text: "deleting"}, connect.CodeFailedPrecondition, "deleting"},
		{fmt.Errorf("x: %w", store.ErrNoSpace), connect.CodeResourceExhausted, "disk space"},
		{fmt.Errorf("x: %w", store.ErrUnknown), connect.CodeUnknown, "may or may not have happened"},
		{fmt.Errorf("x: %w: %w", store.ErrUnknown, context.Canceled), connect.CodeUnknown, "may or may not have happened"},
		{store.ErrClosed, connect.CodeUnavailable, "going down"},
		{errFault, connect.CodeInternal, "log says more"},
	} {
		give = c.err
		api := adminv1connect.NewJobServiceClient(connect.NewClient(connecthttp.NewTransport(d.client(d.admin()), d.base)))
		_, err := api.ApplyJob(t.Context(), adminv1.ApplyJobRequest_builder{Job: new(flinkv1.Job)}.Build())
		if connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), errFault.Error()) {
			t.Errorf("%v came as %v", c.err, err)
		}
		wire, _ := errors.AsType[*connect.Error](err)
		if c.code != connect.CodeInvalidArgument {
			continue
		}
		msg, err := connectproto.UnmarshalErrorDetail(wire.Details()[0])
		if err != nil {
			t.Fatal(err)
		}
		fields := msg.(*adminv1.BadFields).GetFields()
		if len(fields) != 2 || fields[0].GetField() != "spec.parallelism" || fields[0].GetValue() != "-1" || fields[1].GetRemedy() != "is required" {
			t.Errorf("fields %v", fields)
		}
	}
}

func TestMisspeltFieldsOversizedSpecsAndRequestsAreRefused(t *testing.T) {
	applied := 0
	d := newDesk(t, func(_ *desk, c *admin.Config) {
		c.Apply = func(context.Context, string, flink.Job, *int32) (store.Job, string, error) {
			applied++

			return store.Job{}, "created", nil
		}
	})
	job := func(args string) string {
		return `{"job":{"metadata":{"name":"a"},"spec":{"jar":{"args":["` + args + `"]}}}}`
	}
	for name, c := range map[string]struct{ body, code, text string }{
		"field":   {`{"job":{"spec":{"paralelism":2}}}`, "invalid_argument", "paralelism"},
		"no job":  {`{}`, "invalid_argument", "send the manifest"},
		"kind":    {`{"job":{"kind":"FlinkJob"}}`, "invalid_argument", "kind"},
		"spec":    {job(strings.Repeat("a", flink.MaxSpecBytes)), "invalid_argument", "at most 262144 bytes"},
		"request": {job(strings.Repeat("a", admin.MaxRequestBytes)), "resource_exhausted", "524288"},
	} {
		if _, got := d.post(d.admin(), "JobService/ApplyJob", c.body); got["code"] != c.code || !strings.Contains(fmt.Sprint(got["message"]), c.text) {
			t.Errorf("%s: %.300v, want %s %s", name, got, c.code, c.text)
		}
	}
	if applied != 0 {
		t.Errorf("%d of them were applied", applied)
	}
}

func TestPagesHoldEachJobOnceInOrder(t *testing.T) {
	d := newDesk(t, nil)
	d.fill(250)
	for _, body := range []string{`{"pageToken":%q}`, `{"pageToken":%q,"pageSize":7}`, `{"pageToken":%q,"cluster":"eu-1","pageSize":99}`} {
		var names []string
		token, pages := "", 0
		for {
			code, got := d.post(d.admin(), "JobService/ListJobs", fmt.Sprintf(body, token))
			if code != 200 {
				t.Fatalf("%d %v", code, got)
			}
			for _, item := range got["items"].([]any) {
				names = append(names, item.(map[string]any)["metadata"].(map[string]any)["name"].(string))
			}
			pages++
			next, more := got["nextPageToken"].(string)
			if !more {
				break
			}
			token = next
		}
		if len(names) != 250 || names[0] != "job-000" || names[249] != "job-249" || pages < 3 {
			t.Errorf("%s: %d names on %d pages", body, len(names), pages)
		}
		for i := 1; i < len(names); i++ {
			if names[i-1] >= names[i] {
				t.Errorf("%s: %s before %s", body, names[i-1], names[i])
			}
		}
	}
	if code, got := d.post(d.admin(), "JobService/ListJobs", `{"cluster":"eu-2"}`); code != 200 || got["items"] != nil {
		t.Errorf("of a cluster without jobs: %d %v", code, got)
	}
	for body, want := range map[string]string{
		`{"pageToken":"eA"}`: "invalid_argument", `{"pageSize":-1}`: "invalid_argument",
		`{"cluster":"eu-3"}`: "not_found", `{"tenant":"defualt"}`: "not_found",
	} {
		if _, got := d.post(d.admin(), "JobService/ListJobs", body); got["code"] != want {
			t.Errorf("%s: %v, want %s", body, got, want)
		}
	}
}

func TestNearMissesAreNamed(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *admin.Config) {
		c.Restart = func(context.Context, string, string, string, string) (store.Job, error) {
			return store.Job{}, admin.Refusal{Kind: admin.NotFound, Text: "no such job"}
		}
	})
	d.fill(1)
	for method, want := range map[string]string{
		`JobService/GetJob {"name":"job-00"}`:                   `did you mean "job-000"?`,
		`JobService/RestartJob {"name":"jbo-000"}`:              `did you mean "job-000"?`,
		`JobService/GetJob {"name":"a","tenant":"defualt"}`:     `did you mean "default"?`,
		`ClusterService/GetCluster {"name":"eu1"}`:              `did you mean "eu-1"?`,
		`ClusterService/GetCluster {"name":"far-off-and-away"}`: `no cluster "far-off-and-away"`,
	} {
		name, body, _ := strings.Cut(method, " ")
		if code, got := d.post(d.admin(), name, body); code != 404 || !strings.Contains(fmt.Sprint(got["message"]), want) {
			t.Errorf("%s: %d %v, want %s", method, code, got, want)
		}
	}
}

func TestStatusTellsItsAgeAndIsReadyOnlyWhileLive(t *testing.T) {
	d := newDesk(t, nil)
	d.fill(1)
	ready := flink.Status{
		State: flink.Running, Message: "Running", Term: 1,
		Conditions: []flink.Condition{{Type: flink.ConditionReady, Status: flink.True, Reason: "Running"}},
	}
	get := func() (freshness, state, isReady, cluster string) {
		_, got := d.post(d.admin(), "JobService/GetJob", `{"name":"job-000"}`)
		st := got["job"].(map[string]any)["status"].(map[string]any)
		c := st["conditions"].([]any)[0].(map[string]any)

		return fmt.Sprint(st["freshness"]), fmt.Sprint(st["state"]), fmt.Sprint(c["status"]), fmt.Sprint(st["cluster"])
	}
	check := func(when, freshness, state, isReady string) {
		t.Helper()
		f, s, r, c := get()
		if f != freshness || s != state || r != isReady || c != "eu-1" {
			t.Errorf("%s: %s %s ready=%s of %s, want %s %s ready=%s of eu-1", when, f, s, r, c, freshness, state, isReady)
		}
	}
	session := func(s admin.Session) { d.mu.Lock(); d.sessions["c1"] = s; d.mu.Unlock() }
	put := func(term int32) {
		t.Helper()
		row := store.StatusRow{ClusterUID: "c1", JobUID: "u000", Term: term, Status: ready}
		if err := d.store.PutStatuses(t.Context(), "c1", []store.StatusRow{row}, false); err != nil {
			t.Fatal(err)
		}
	}

	check("nothing was said", "stale", "Pending", "False")
	session(admin.Session{Up: true, LastSeen: time.Now()})
	put(1)
	check("session up", "live", "Running", "True")
	session(admin.Session{Up: true, LastSeen: time.Now().Add(-2 * time.Minute)})
	check("silent", "stale", "Running", "Unknown")
	d.write(func(txn *store.Txn) {
		txn.PutCluster(store.Cluster{UID: "c1", Name: "eu-1", State: store.ClusterRemoved, Banned: true})
	})
	check("removed", "frozen", "Running", "Unknown")
	d.write(func(txn *store.Txn) { txn.PutAssignment(flink.Assignment{JobUID: "u000", ClusterUID: "c1", Term: 2}) })
	check("word of an earlier term", "frozen", "Pending", "False")
}

func TestInvitationCarriesAllThatAnAgentNeeds(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *admin.Config) {
		c.Invite = func(_ context.Context, _, name string) (admin.Invitation, error) {
			return admin.Invitation{
				Cluster: store.Cluster{Name: name, UID: "u", State: store.ClusterInvited}, Token: "wwj1.x", ExpiresAt: time.Unix(60, 0),
				CAPin: "sha256:00", CABundle: "PEM", HubAddress: "hub:1", TrustDomain: "td",
			}, nil
		}
	})
	_, got := d.post(d.admin(), "ClusterService/InviteCluster", `{"name":"eu-1"}`)
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"token":"wwj1.x"`, `"expiresAt":"1970-01-01T00:01:00Z"`, `"caPin":"sha256:00"`, `"caBundle":"PEM"`,
		`"hubAddress":"hub:1"`, `"trustDomain":"td"`, `"state":"invited"`, `"message":"Waiting for its agent to join"`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}
