package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// Secret keeps the agent's identity in one Secret of its own namespace: a value per name, each replaced by
// compare-and-swap. Its methods may be called from any goroutine.
type Secret struct {
	api  typedcorev1.SecretInterface
	name string

	mu    sync.Mutex        // guards what follows
	seen  map[string][]byte // as last loaded or replaced by this process; a nil value: there was none
	tried map[string][]byte // what was written without an answer: it may be there
}

// NewSecret names a Secret. It is made by the first Replace, and nothing is asked before.
func NewSecret(api *rest.Config, namespace, name string) (*Secret, error) {
	client, err := secrets(api, namespace)
	if err != nil {
		return nil, err
	}

	return &Secret{api: client, name: name, seen: map[string][]byte{}, tried: map[string][]byte{}}, nil
}

func secrets(api *rest.Config, namespace string) (typedcorev1.SecretInterface, error) {
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}

	return client.CoreV1().Secrets(namespace), nil
}

// String says where it is, for people.
func (s *Secret) String() string { return "Secret " + s.name }

// Load returns what is kept under a name, or an error that is fs.ErrNotExist.
func (s *Secret) Load(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.get()
	if err != nil {
		return nil, err
	}
	delete(s.tried, name)
	if now != nil {
		s.seen[name] = now.Data[name]
	}
	if now == nil || now.Data[name] == nil {
		s.seen[name] = nil

		return nil, fmt.Errorf("%s in Secret %s: %w", name, s.name, fs.ErrNotExist)
	}

	return bytes.Clone(now.Data[name]), nil
}

// Replace keeps data under a name. It is an error if another process changed what is there since this one looked. After an
// error data may be there all the same; the next Replace knows that for its own.
func (s *Secret) Replace(name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range tries {
		if err = s.swap(name, data); err == nil {
			s.seen[name] = bytes.Clone(data)
			delete(s.tried, name)

			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			break
		}
	}

	return fmt.Errorf("write %s into Secret %s: %w", name, s.name, err)
}

// swap is one try of a Replace.
func (s *Secret) swap(name string, data []byte) error {
	now, err := s.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	if now == nil {
		if s.seen[name] != nil {
			return errors.New("it was deleted by somebody else")
		}
		s.tried[name] = bytes.Clone(data)
		_, err := s.api.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: s.name, Labels: map[string]string{"waterwheel.dev/managed-by": "agent"}},
			Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{name: data},
		}, metav1.CreateOptions{FieldManager: manager})

		return err
	}
	there := now.Data[name]
	if bytes.Equal(there, data) {
		return nil // the answer to a try before was lost, or another says the same
	}
	if tried := s.tried[name]; !bytes.Equal(there, s.seen[name]) && (tried == nil || !bytes.Equal(there, tried)) {
		return errors.New("it was changed by another agent")
	}
	s.seen[name] = there
	s.tried[name] = bytes.Clone(data)
	now.Data = maps.Clone(now.Data)
	if now.Data == nil {
		now.Data = map[string][]byte{}
	}
	now.Data[name], now.ManagedFields = data, nil
	_, err = s.api.Update(ctx, now, metav1.UpdateOptions{FieldManager: manager})

	return err
}

// get is the Secret as it is, nil if there is none.
func (s *Secret) get() (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	now, err := s.api.Get(ctx, s.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Secret %s: %w", s.name, err)
	}

	return now, nil
}

// JoinToken is a join token in a Secret of its own, which goes with it once it was used.
type JoinToken struct {
	api  typedcorev1.SecretInterface
	name string
	key  string
}

// NewJoinToken names the Secret of a join token, and the key in it.
func NewJoinToken(api *rest.Config, namespace, name, key string) (*JoinToken, error) {
	client, err := secrets(api, namespace)
	if err != nil {
		return nil, err
	}

	return &JoinToken{api: client, name: name, key: key}, nil
}

// String says where it is, for people.
func (t *JoinToken) String() string { return fmt.Sprintf("key %s of Secret %s", t.key, t.name) }

// Read returns the token, "" if there is none.
func (t *JoinToken) Read() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	s, err := t.api.Get(ctx, t.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading the join token: %w", err)
	}

	return strings.TrimSpace(string(s.Data[t.key])), nil
}

// Discard deletes the Secret.
func (t *JoinToken) Discard() error {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	if err := t.api.Delete(ctx, t.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the join token: %w", err)
	}

	return nil
}
