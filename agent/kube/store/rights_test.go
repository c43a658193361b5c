package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/flink"
)

// limited has the agent of a place be a user who may do what the chart allows and nothing else.
func (p *place) limited() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "charts", "waterwheel-agent", "files", "rules", "agent-own.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict(text, &rules); err != nil {
		p.t.Fatal(err)
	}
	user := "agent-of-" + p.name
	_, err = p.client.RbacV1().Roles(p.name).Create(p.t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "agent"}, Rules: rules}, metav1.CreateOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.client.RbacV1().RoleBindings(p.name).Create(p.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agent"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{}); err != nil {
		p.t.Fatal(err)
	}
	p.o.API = rest.CopyConfig(p.o.API)
	p.o.API.Impersonate.UserName = user
}

func TestTheChartsRoleIsEnough(t *testing.T) {
	p := newPlace(t)
	p.limited()
	if _, err := p.client.CoreV1().Secrets(p.name).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "waterwheel-agent-join"}, StringData: map[string]string{"token": "wwj1.x"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the role counts", func() bool {
		s, err := NewSecret(p.o.API, p.name, "waterwheel-agent-identity")

		return err == nil && s.Replace("agent.key", []byte("key")) == nil
	})
	s, woken, stop := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	p.patch("a", `{"metadata":{"annotations":{"waterwheel.dev/hold":"wait"}}}`)
	<-woken
	p.delete("a")
	await(t, "it is written again", func() bool {
		_, err := p.objects.Get(t.Context(), "a", metav1.GetOptions{})

		return err == nil
	})
	record(t, s, recordstest.Frame(2, recordstest.Tombstone("a", 1, 2, 1, flink.DeleteCancel)))
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if gone, err := s.Settle(t.Context(), s.Reports()); err != nil || len(gone) != 1 {
		t.Errorf("settled: %v %v", gone, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	id, err := NewSecret(p.o.API, p.name, "waterwheel-agent-identity")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, id, "agent.key", "key")
	if err := id.Replace("svid.json", []byte("svid")); err != nil {
		t.Error(err)
	}
	tok, err := NewJoinToken(p.o.API, p.name, "waterwheel-agent-join", "token")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tok.Read(); got != "wwj1.x" || err != nil {
		t.Errorf("token = %q %v", got, err)
	}
	if err := tok.Discard(); err != nil {
		t.Error(err)
	}
	p.o.ConfigMap = "another"
	if _, err := Open(t.Context(), p.o); err == nil || errors.Is(err, ErrNoCRD) {
		t.Errorf("err = %v: what the role does not allow is refused at once", err)
	}
}
