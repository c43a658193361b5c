package store

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (p *place) secret() *Secret {
	p.t.Helper()
	s, err := NewSecret(p.o.API, p.name, "identity")
	if err != nil {
		p.t.Fatal(err)
	}

	return s
}

func keep(t *testing.T, s *Secret, name, want string) {
	t.Helper()
	got, err := s.Load(name)
	if err != nil || string(got) != want {
		t.Errorf("%s = %q %v, want %q", name, got, err, want)
	}
}

func TestAnIdentityIsKeptInASecret(t *testing.T) {
	p := newPlace(t)
	s := p.secret()
	if _, err := s.Load("agent.key"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("err = %v, want fs.ErrNotExist", err)
	}
	for name, text := range map[string]string{"agent.key": "key", "svid.json": "svid 1"} {
		if err := s.Replace(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, s, "agent.key", "key")
	s = p.secret() // the next life
	keep(t, s, "agent.key", "key")
	keep(t, s, "svid.json", "svid 1")
	if _, err := p.client.CoreV1().Secrets(p.name).Patch(t.Context(), "identity", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"note":"mine"}},"data":{"more":"bW9yZQ=="}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace("svid.json", []byte("svid 2")); err != nil {
		t.Fatalf("what a person wrote beside it stands against it: %v", err)
	}
	now, err := p.client.CoreV1().Secrets(p.name).Get(t.Context(), "identity", metav1.GetOptions{})
	if err != nil || now.Annotations["note"] != "mine" || string(now.Data["more"]) != "more" || string(now.Data["svid.json"]) != "svid 2" || string(now.Data["agent.key"]) != "key" {
		t.Errorf("secret = %+v %v", now, err)
	}
}

// A certificate that is renewed while the API server falters must not end with "changed by another agent" for ever.
func TestAWriteWhoseAnswerWasLostIsNotAnotherAgents(t *testing.T) {
	p := newPlace(t)
	s := p.secret()
	if _, err := s.Load("svid.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	lost := func(text string, done bool) {
		t.Helper()
		p.calls.die(0, done)
		defer p.calls.live()
		if err := s.Replace("svid.json", []byte(text)); !errors.Is(err, errDied) {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"made", "renewed"} { // a create, then an update
		lost(text, true)
		if err := s.Replace("svid.json", []byte(text)); err != nil {
			t.Errorf("%s, the same again: %v", text, err)
		}
		lost(text+" 2", true)
		lost(text+" 3", false)
		lost(text+" 4", true)
		if err := s.Replace("svid.json", []byte(text+" 5")); err != nil {
			t.Errorf("%s, then another: %v", text, err)
		}
	}
	keep(t, p.secret(), "svid.json", "renewed 5")
	lost("mine", true)
	other := p.secret()
	keep(t, other, "svid.json", "mine")
	if err := other.Replace("svid.json", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace("svid.json", []byte("mine 2")); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("err = %v, want that another agent wrote", err)
	}
}

func TestOfTwoAgentsOneMakesTheKey(t *testing.T) {
	p := newPlace(t)
	one, two := p.secret(), p.secret()
	for _, s := range []*Secret{one, two} {
		if _, err := s.Load("agent.key"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := one.Replace("agent.key", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := two.Replace("agent.key", []byte("two")); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("err = %v: two keys for one agent", err)
	}
	keep(t, two, "agent.key", "one")
	if err := two.Replace("agent.key", []byte("next")); err != nil {
		t.Errorf("having looked, it may: %v", err)
	}
	if err := p.client.CoreV1().Secrets(p.name).Delete(t.Context(), "identity", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := two.Replace("agent.key", []byte("more")); err == nil {
		t.Error("an identity that was deleted comes back in part")
	}
}

func TestAUsedJoinTokenGoesWithItsSecret(t *testing.T) {
	p := newPlace(t)
	tok, err := NewJoinToken(p.o.API, p.name, "join", "token")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tok.Read(); got != "" || err != nil {
		t.Errorf("token = %q %v, want none", got, err)
	}
	secrets := p.client.CoreV1().Secrets(p.name)
	if _, err := secrets.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "join"}, StringData: map[string]string{"token": "wwj1.x\n"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := tok.Read(); got != "wwj1.x" || err != nil {
		t.Errorf("token = %q %v", got, err)
	}
	if err := errors.Join(tok.Discard(), tok.Discard()); err != nil {
		t.Error(err)
	}
	if _, err := secrets.Get(t.Context(), "join", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the secret of a used token: %v", err)
	}
}
