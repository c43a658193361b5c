package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestEveryCheckIsDoneWithinItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		start := time.Now()
		found := Run(t.Context(), []Check{
			{What: "heeds", Limit: 3 * time.Second, Look: func(ctx context.Context) []Finding {
				<-ctx.Done()
				return []Finding{{Fail, "heeds", ctx.Err().Error(), "r"}}
			}},
			{What: "does not", Limit: 2 * time.Second, Look: func(context.Context) []Finding { <-stuck; return nil }},
			{What: "two", Look: func(context.Context) []Finding { return []Finding{{OK, "a", "1", ""}, {OK, "b", "2", ""}} }},
		})
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("took %s", took)
		}
		want := []Finding{
			{Fail, "heeds", "context deadline exceeded", "r"},
			{Fail, "does not", "no answer within 2s", "find out what hangs there, and ask again"},
			{OK, "a", "1", ""},
			{OK, "b", "2", ""},
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	})
}

// wellPlace is a cluster in which nothing is wrong.
func wellPlace() Kubernetes {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	return Kubernetes{
		Namespace: "waterwheel-agent", Accounts: []string{"waterwheel-jobmanager", "waterwheel-taskmanager"},
		Own: []Right{{Verb: "get", Resource: "secrets", Name: "id"}, {Verb: "list", Group: "agent.waterwheel.dev", Resource: "flinkjobs"}},
		Tenants: []Tenant{{
			Namespace: "team-a", Rights: []Right{{Verb: "create", Group: "apps", Resource: "deployments"}, {Verb: "list", Resource: "pods"}},
			StateRoot: "s3://bucket/prefix", Endpoint: "http://minio.storage.svc:9000",
		}},
		Records: Kind{"agent.waterwheel.dev/v1", "flinkjobs"}, Images: map[string]string{"2.3": "flink:2.3", "1.20": "flink:1.20"},
		Server: func(context.Context) (string, time.Time, error) { return "v1.36.1", now.Add(-time.Second), nil },
		Missing: func(_ context.Context, _ string, want []Right) ([]Right, error) {
			var missing []Right
			for _, r := range want {
				if r.Resource == "pods/exec" || r.Resource == "secrets" && r.Name == "" || r.Resource == "pods" && r.Verb == "create" {
					missing = append(missing, r)
				}
			}
			return missing, nil
		},
		Served:  func(context.Context, string, string) (bool, error) { return true, nil },
		Account: func(context.Context, string, string) (bool, error) { return true, nil },
		Quotas: func(context.Context, string) ([]Left, error) {
			return []Left{
				{Quota: "jobs", Resource: "requests.memory", Left: "13Gi", Hard: "16Gi", Bytes: 13 << 30},
				{Quota: "jobs", Resource: "pods", Left: "17", Hard: "20"},
			}, nil
		},
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			if addr != "minio.storage.svc:9000" {
				return nil, errors.New("no route to " + addr)
			}
			here, there := net.Pipe()
			there.Close()
			return here, nil
		},
		Now: func() time.Time { return now },
	}
}

func looked(t *testing.T, k Kubernetes) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, Run(t.Context(), KubernetesChecks(k))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAClusterLooksAsReviewed(t *testing.T) {
	golden(t, "well.txt", looked(t, wellPlace()))
	sick := wellPlace()
	no := errors.New("dial tcp 10.0.0.1:443: i/o timeout")
	sick.Server = func(context.Context) (string, time.Time, error) {
		return "v1.36.1", sick.Now().Add(-90 * time.Second), nil
	}
	sick.Missing = func(_ context.Context, _ string, want []Right) ([]Right, error) {
		if want[0].Resource == tooMuch[0].Resource && want[0].Name == "" {
			return want[1:], nil
		}
		return want, nil
	}
	sick.Served = func(context.Context, string, string) (bool, error) { return false, nil }
	sick.Account = func(_ context.Context, _, name string) (bool, error) { return name != "waterwheel-taskmanager", nil }
	sick.Quotas = func(context.Context, string) ([]Left, error) {
		return []Left{
			{Quota: "jobs", Resource: "requests.memory", Left: "1Gi", Hard: "16Gi", Bytes: 1 << 30},
			{Quota: "jobs", Resource: "pods", Left: "0", Hard: "20", None: true},
		}, nil
	}
	sick.Images, sick.Dial = nil, func(context.Context, string, string) (net.Conn, error) { return nil, no }
	golden(t, "sick.txt", looked(t, sick))
	dark := wellPlace()
	dark.Server = func(context.Context) (string, time.Time, error) { return "", time.Time{}, no }
	dark.Missing = func(context.Context, string, []Right) ([]Right, error) { return nil, no }
	dark.Served = func(context.Context, string, string) (bool, error) {
		return false, fmt.Errorf("ask: %w", &url.Error{Op: "Get", URL: "https://10.0.0.1:443/apis", Err: no})
	}
	dark.Account = dark.servedBy
	dark.Quotas = func(context.Context, string) ([]Left, error) { return nil, no }
	golden(t, "dark.txt", looked(t, dark))
	empty := wellPlace()
	empty.Tenants = nil
	golden(t, "no-tenants.txt", looked(t, empty))
}

// servedBy answers for accounts as for kinds.
func (k Kubernetes) servedBy(ctx context.Context, namespace, name string) (bool, error) {
	return k.Served(ctx, namespace, name)
}

func TestStateRootsAreLookedForWhereTheyAre(t *testing.T) {
	for _, tc := range []struct {
		root, endpoint string
		level          Level
		says           string
	}{
		{"s3://b/p", "", Warn, "s3.amazonaws.com:443"},
		{"s3://b/p", "https://s3.example.org", Warn, "s3.example.org:443"},
		{"s3://b/p", "http://s3.example.org", Warn, "s3.example.org:80"},
		{"s3://b/p", "minio.storage.svc:9000", OK, "connected to minio.storage.svc:9000"},
		{"gs://b/p", "", Warn, "storage.googleapis.com:443"},
		{"abfss://c@acc.dfs.core.windows.net/p", "", Warn, "acc.dfs.core.windows.net:443"},
		{"hdfs://nn:8020/p", "", Warn, "nn:8020"},
		{"oss://b/p", "", OK, "first checkpoint"},
		{"file:///state", "", Warn, "shared volume"},
		{"", "", Warn, "no root"},
		{"bucket/prefix", "", Fail, "not an address"},
	} {
		if f := wellPlace().storage(t.Context(), Tenant{Namespace: "n", StateRoot: tc.root, Endpoint: tc.endpoint}); f.Level != tc.level || !strings.Contains(f.Finding, tc.says) {
			t.Errorf("%q at %q: %+v", tc.root, tc.endpoint, f)
		}
	}
}

func TestAHostIsLookedAt(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "lib", "flink-dist-2.3.0.jar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	found := Run(t.Context(), HostChecks(Host{Dir: filepath.Join(home, "agent"), Java: exe, Flink: map[string]string{"2.3": home, "1.20": t.TempDir()}}))
	if levels(found) != "ok FAIL ok ok" || !Failed(found) {
		t.Errorf("%+v", found)
	}
	found = Run(t.Context(), HostChecks(Host{Dir: "/no/such/place", Java: "/no/java"}))
	if levels(found) != "FAIL FAIL" {
		t.Errorf("%+v", found)
	}
}

func TestMachinesReadTheFindings(t *testing.T) {
	var b strings.Builder
	found := []Finding{{OK, "a", "fine", ""}, {Fail, "b", "bad", "mend it"}}
	if err := WriteJSON(&b, found); err != nil {
		t.Fatal(err)
	}
	var got struct{ Items []Finding }
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || cmp.Diff(found, got.Items) != "" {
		t.Errorf("%v: %s", err, b.String())
	}
}
