package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/kube/keys"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// masterKey is the master secret's key in its Secret.
const masterKey = "master"

// masterSecret reads the master secret, and makes it the first time. Of two
// agents that make it at once one wins, and both go on with that. Without it the
// agent cannot speak to the runs that it was used for: they are taken for lost
// and started again, from their newest checkpoints.
func (r *Runtime) masterSecret(ctx context.Context) ([]byte, error) {
	r.masterMu.Lock()
	defer r.masterMu.Unlock()
	if r.master != nil {
		return r.master, nil
	}
	secrets := r.client.CoreV1().Secrets(r.cfg.Namespace)
	s, err := secrets.Get(ctx, r.cfg.Keys, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		fresh := make([]byte, keys.MasterSize)
		_, _ = rand.Read(fresh) // never fails
		s, err = r.createMaster(ctx, fresh)
		if apierrors.IsAlreadyExists(err) {
			s, err = secrets.Get(ctx, r.cfg.Keys, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the master secret: %w", err)
	}
	if len(s.Data[masterKey]) < keys.MasterSize {
		return nil, fmt.Errorf("read the master secret: Secret %s has no key %q of %d bytes", r.cfg.Keys, masterKey, keys.MasterSize)
	}
	r.master = s.Data[masterKey]
	return r.master, nil
}

// keysEvery is how often it is looked whether the master secret is still there.
const keysEvery = 10 * time.Minute

// keepKeys puts the master secret back where somebody deleted it: what knows it may be this process alone. It looks for the
// last time when ctx ends.
func (r *Runtime) keepKeys(ctx context.Context) {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
			defer cancel()
			r.putKeysBack(last)
			return
		}
		r.putKeysBack(ctx)
	}
}

// lastLook bounds what is still done when the agent ends.
const lastLook = 3 * time.Second

// putKeysBack makes the master secret again, as this process knows it, unless there is one.
func (r *Runtime) putKeysBack(ctx context.Context) {
	r.masterMu.Lock()
	defer r.masterMu.Unlock()
	if r.master == nil {
		return // never used: there is nothing to keep
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	s, err := r.client.CoreV1().Secrets(r.cfg.Namespace).Get(ctx, r.cfg.Keys, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if s, err = r.createMaster(ctx, r.master); err == nil {
			r.log.Warn("Secret of keys was deleted by somebody else; put back", "name", r.cfg.Keys)
		}
	}
	switch {
	case err != nil:
		r.log.Warn("Secret of keys cannot be looked at", "name", r.cfg.Keys, "err", err)
	case !bytes.Equal(s.Data[masterKey], r.master):
		r.log.Error("Secret of keys was replaced by somebody else: an agent that starts cannot speak to the runs of now, and replaces them", "name", r.cfg.Keys)
	}
}

// createMaster makes the Secret of the master secret.
func (r *Runtime) createMaster(ctx context.Context, master []byte) (*corev1.Secret, error) {
	return r.client.CoreV1().Secrets(r.cfg.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: r.cfg.Keys, Labels: map[string]string{render.LabelManagedBy: render.ManagedBy}},
		Type:       corev1.SecretTypeOpaque, Immutable: new(true), Data: map[string][]byte{masterKey: master},
	}, metav1.CreateOptions{FieldManager: Manager})
}

// createSecret makes the run's Secret unless it is there. It is never read.
func (r *Runtime) createSecret(ctx context.Context, l flink.Launch, place render.Place, anchor *corev1.ConfigMap) error {
	run, err := r.ring.Run(ctx, render.Name(l.Run))
	if err != nil {
		return err
	}
	k, err := run.Stores(restHosts(l.Run, place.Namespace)...)
	if err != nil {
		return err
	}
	s := render.Secret(l, place, render.Keys{
		KeyStore: k.KeyStore, TrustStore: k.TrustStore, Client: k.Client, CA: k.CA, Password: k.Password,
	}, anchor.UID)
	_, err = r.client.CoreV1().Secrets(place.Namespace).Create(ctx, s, metav1.CreateOptions{FieldManager: Manager})
	if err == nil || apierrors.IsAlreadyExists(err) {
		r.memo.secretMade(l.Run, time.Now())
		return nil
	}
	return written(s, place.Namespace, err)
}
