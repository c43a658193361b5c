package checks

import (
	"context"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
)

// account makes a tenant's namespace with a quota, and an agent's account that may do little there; it returns the account's own way in.
func account(t *testing.T, admin *rest.Config) *rest.Config {
	t.Helper()
	ctx := t.Context()
	k, err := kubernetes.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	core, made := k.CoreV1(), metav1.CreateOptions{}
	must(core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta("team-a")}, made))
	must(core.ServiceAccounts("team-a").Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta("agent")}, made))
	must(core.ResourceQuotas("team-a").Create(ctx, &corev1.ResourceQuota{
		ObjectMeta: meta("jobs"), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceLimitsMemory: resource.MustParse("4Gi")}},
	}, made))
	must(k.RbacV1().Roles("team-a").Create(ctx, &rbacv1.Role{ObjectMeta: meta("agent"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"own"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"resourcequotas", "serviceaccounts"}, Verbs: []string{"get", "list"}},
	}}, made))
	must(k.RbacV1().RoleBindings("team-a").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta("agent"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agent"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "team-a", Name: "agent"}},
	}, made))
	token, err := core.ServiceAccounts("team-a").CreateToken(ctx, "agent", new(authenticationv1.TokenRequest), made)
	must(token, err)
	own := rest.AnonymousClientConfig(admin)
	own.BearerToken = token.Status.Token
	return own
}

// granted waits until the account's role counts: the authorizer comes to know it a moment after it was made.
func granted(ctx context.Context, t *testing.T, s *Server) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		there, err := s.Account(ctx, "team-a", "agent")
		if there {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the role does not count: %v", err)
		}
	}
}

func TestARealServerAnswersEveryQuestion(t *testing.T) {
	admin, err := clientcmd.BuildConfigFromFlags("", apiserver.ForTest(t, apiserver.Options{}).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(account(t, admin))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	granted(ctx, t, s)

	if version, at, err := s.Version(ctx); err != nil || version == "" || version[0] != 'v' || time.Since(at).Abs() > time.Minute {
		t.Errorf("version %q, clock %s, %v", version, at, err)
	}
	for name, want := range map[string]bool{"deployments": true, "flinkjobs": false} {
		if got, err := s.Served(ctx, "apps/v1", name); got != want || err != nil {
			t.Errorf("%s served: %v, %v", name, got, err)
		}
	}
	if got, err := s.Served(ctx, "agent.waterwheel.dev/v1", "flinkjobs"); got || err != nil {
		t.Errorf("a CRD that is not there is served: %v, %v", got, err)
	}
	for name, want := range map[string]bool{"agent": true, "nobody": false} {
		if got, err := s.Account(ctx, "team-a", name); got != want || err != nil {
			t.Errorf("account %s: %v, %v", name, got, err)
		}
	}
	if _, err := s.Account(ctx, "default", "agent"); err == nil {
		t.Error("asked in a namespace in which it has no rights, and was answered")
	}
	want := []Right{{"create", "apps", "deployments", ""}, {"get", "", "secrets", ""}, {"create", "", "pods/exec", ""}}
	missing, err := s.Missing(ctx, "team-a", append([]Right{{"list", "apps", "deployments", ""}, {"get", "", "secrets", "own"}}, want...))
	if err != nil || !slices.Equal(missing, want) {
		t.Errorf("missing %v, %v; want %v", missing, err, want)
	}
	left, err := s.Quotas(ctx, "team-a")
	if err != nil || !slices.Equal(left, []Left{{"jobs", "limits.memory", "4Gi", "4Gi", 4 << 30, false}}) {
		t.Errorf("left %+v, %v", left, err)
	}
}
