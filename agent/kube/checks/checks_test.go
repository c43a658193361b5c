package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// api answers like an API server whose account has some rules, and what an authorizer without rules allows besides.
type api struct {
	t       *testing.T
	rules   string          // JSON of resourceRules
	allowed map[string]bool // "verb group/resource/sub name"
	quotas  string          // JSON of items

	mu    sync.Mutex // guards asked
	asked []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/version":
		w.Header().Set("Date", "Wed, 04 Mar 2026 12:00:00 GMT")
		fmt.Fprint(w, `{"major":"1","minor":"36","gitVersion":"v1.36.1"}`)
	case "/apis/agent.waterwheel.dev/v1":
		fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"agent.waterwheel.dev/v1","resources":[{"name":"flinkjobs"},{"name":"flinkjobs/status"}]}`)
	case "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"SelfSubjectRulesReview","apiVersion":"authorization.k8s.io/v1","status":{"incomplete":true,"nonResourceRules":[],"resourceRules":%s}}`, a.rules)
	case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
		var review authorizationv1.SelfSubjectAccessReview
		if err := json.Unmarshal(body, &review); err != nil {
			a.t.Errorf("%v: %q", err, body)
		}
		at := review.Spec.ResourceAttributes
		key := fmt.Sprintf("%s %s/%s/%s %s", at.Verb, at.Group, at.Resource, at.Subresource, at.Name)
		a.asked = append(a.asked, key)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":%v}}`, a.allowed[key])
	case "/api/v1/namespaces/team-a/serviceaccounts/there":
		fmt.Fprint(w, `{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"there"}}`)
	case "/api/v1/namespaces/team-a/resourcequotas":
		fmt.Fprintf(w, `{"kind":"ResourceQuotaList","apiVersion":"v1","items":[%s]}`, a.quotas)
	case "/api/v1/namespaces/secret/serviceaccounts/there":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"not yours"}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"nothing here"}`)
	}
}

func (a *api) server(t *testing.T) *Server {
	t.Helper()
	a.t = t
	web := httptest.NewServer(a)
	t.Cleanup(web.Close)
	// In JSON, so that the answers above can be read.
	s, err := New(&rest.Config{Host: web.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheServerSaysWhatItIsAndWhatTimeItHas(t *testing.T) {
	s := (&api{}).server(t)
	version, at, err := s.Version(t.Context())
	if want := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC); err != nil || version != "v1.36.1" || !at.Equal(want) {
		t.Errorf("%q %s %v", version, at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Version(ctx); err == nil {
		t.Error("an answer without a question")
	}
}

func TestAKindIsServedOnlyWithItsGroup(t *testing.T) {
	s := (&api{}).server(t)
	for _, tc := range []struct {
		group, resource string
		want            bool
	}{{"agent.waterwheel.dev/v1", "flinkjobs", true}, {"agent.waterwheel.dev/v1", "jobs", false}, {"other.dev/v1", "flinkjobs", false}} {
		if got, err := s.Served(t.Context(), tc.group, tc.resource); got != tc.want || err != nil {
			t.Errorf("%s %s: %v, %v", tc.group, tc.resource, got, err)
		}
	}
}

func TestAnAccountIsThereOrNotOrNotToBeAskedFor(t *testing.T) {
	s := (&api{}).server(t)
	if there, err := s.Account(t.Context(), "team-a", "there"); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if there, err := s.Account(t.Context(), "team-a", "gone"); there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if there, err := s.Account(t.Context(), "secret", "there"); there || err == nil || !strings.Contains(err.Error(), "not yours") {
		t.Errorf("%v, %v", there, err)
	}
}

func TestOnlyWhatNoRuleCoversIsAskedForOneByOne(t *testing.T) {
	a := &api{
		rules: `[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"]},
			{"verbs":["*"],"apiGroups":["apps"],"resources":["*"]},
			{"verbs":["get"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["own"]}]`,
		allowed: map[string]bool{"watch /pods/ ": true},
	}
	s := a.server(t)
	missing, err := s.Missing(t.Context(), "team-a", []Right{
		{"get", "", "pods", ""},
		{"get", "", "pods", "one"},
		{"delete", "apps", "deployments", ""},
		{"patch", "apps", "deployments/scale", ""},
		{"get", "", "secrets", "own"},
		{"watch", "", "pods", ""},
		{"get", "", "secrets", ""},
		{"get", "", "secrets", "other"},
		{"create", "", "pods/exec", ""},
		{"get", "batch", "jobs", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Right{{"get", "", "secrets", ""}, {"get", "", "secrets", "other"}, {"create", "", "pods/exec", ""}, {"get", "batch", "jobs", ""}}
	if !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v", missing, want)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := slices.DeleteFunc(slices.Clone(a.asked), func(q string) bool { return strings.HasPrefix(q, "POST") })
	if wantAsked := []string{"watch /pods/ ", "get /secrets/ ", "get /secrets/ other", "create /pods/exec ", "get batch/jobs/ "}; !slices.Equal(asked, wantAsked) {
		t.Errorf("asked %q, want %q", asked, wantAsked)
	}
}

func TestWhatIsLeftOfQuotas(t *testing.T) {
	s := (&api{quotas: `
		{"metadata":{"name":"jobs"},"spec":{"hard":{"limits.memory":"16Gi","pods":"20"}},"status":{"hard":{"limits.memory":"16Gi","pods":"20"},"used":{"limits.memory":"3Gi","pods":"20"}}},
		{"metadata":{"name":"fresh"},"spec":{"hard":{"limits.cpu":"8","persistentvolumeclaims":"4"}},"status":{}},
		{"metadata":{"name":"lowered"},"spec":{"hard":{"requests.memory":"1Gi"}},"status":{"hard":{"requests.memory":"1Gi"},"used":{"requests.memory":"2Gi"}}}`}).server(t)
	left, err := s.Quotas(t.Context(), "team-a")
	want := []Left{
		{"jobs", "limits.memory", "13Gi", "16Gi", 13 << 30, false},
		{"jobs", "pods", "0", "20", 0, true},
		{"fresh", "limits.cpu", "8", "8", 0, false},
		{"lowered", "requests.memory", "-1Gi", "1Gi", 0, true},
	}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("%+v, %v; want %+v", left, err, want)
	}
	if _, err := s.Quotas(t.Context(), "elsewhere"); err == nil {
		t.Error("a namespace that is not there has room")
	}
}
