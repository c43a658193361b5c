package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const lookAgain = 200 * time.Millisecond // whether what was deleted is gone

// Belongings name what an agent has in its own namespace: all FlinkJob objects there, and these by name.
type Belongings struct {
	API       *rest.Config
	Namespace string
	ConfigMap string
	Secrets   []string // in the order in which they are deleted
}

// belonging is one object of an agent.
type belonging struct {
	what   string
	meta   metav1.Object
	delete func(context.Context, metav1.DeleteOptions) error
}

func (b belonging) String() string { return b.what + " " + b.meta.GetName() }

// Left names what there is. Where FlinkJob is not known there is none.
func (o Belongings) Left(ctx context.Context) ([]string, error) {
	all, err := o.list(ctx)
	var out []string
	for _, b := range all {
		out = append(out, b.String())
	}

	return out, err
}

// Purge deletes all of it, and returns how many objects that were when none is left. It is for an agent that goes for good:
// for the holder of the Lease alone, after all runs have ended, since an agent without records would not know them. One
// kind goes after the other, the identity last: until the records are gone an agent that acts again goes on with them.
func (o Belongings) Purge(ctx context.Context) (int, error) {
	deleted := map[string]bool{}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var last []belonging
	for {
		all, err := o.list(ctx)
		switch {
		case err != nil && ctx.Err() != nil && len(last) > 0:
			return len(deleted), fmt.Errorf("%s: %w", waiting(last), context.Cause(ctx))
		case err != nil || len(all) == 0:
			return len(deleted), err
		}
		last = all
		for _, b := range all {
			deleted[b.String()] = true
			if b.what != all[0].what {
				break // FlinkJobs are gone before anything else goes
			}
			if b.meta.GetDeletionTimestamp() != nil {
				continue
			}
			uid := b.meta.GetUID()
			call, cancel := context.WithTimeout(ctx, callLimit)
			err := b.delete(call, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			cancel()
			switch {
			case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
			case ctx.Err() != nil: // it may have been carried out all the same: what was there matters
				return len(deleted), fmt.Errorf("%s: %w", waiting(all), context.Cause(ctx))
			default:
				return len(deleted), fmt.Errorf("delete %s: %w", b, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return len(deleted), fmt.Errorf("%s: %w", waiting(all), context.Cause(ctx))
		}
	}
}

// waiting says what does not go, and whose finalizers it waits for.
func waiting(all []belonging) string {
	var words []string
	for _, b := range all {
		on := ""
		if f := b.meta.GetFinalizers(); len(f) > 0 {
			on = " (waits for " + strings.Join(f, ", ") + ")"
		}
		words = append(words, b.String()+on)
	}

	return strings.Join(words, ", ") + " not gone yet"
}

// list is all there is now, in the order in which it is to go.
func (o Belongings) list(ctx context.Context) ([]belonging, error) {
	api := rest.CopyConfig(o.API)
	api.UserAgent, api.QPS = manager, -1
	objects, err := dynamic.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	client, err := kubernetes.NewForConfig(api)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	out, err := flinkJobs(ctx, objects.Resource(resource()).Namespace(o.Namespace))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	maps, secrets := client.CoreV1().ConfigMaps(o.Namespace), client.CoreV1().Secrets(o.Namespace)
	cm, err := maps.Get(ctx, o.ConfigMap, metav1.GetOptions{})
	switch {
	case err == nil:
		out = append(out, belonging{"ConfigMap", cm, func(ctx context.Context, opts metav1.DeleteOptions) error {
			return maps.Delete(ctx, cm.Name, opts)
		}})
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read ConfigMap %s: %w", o.ConfigMap, err)
	}
	for _, name := range o.Secrets {
		s, err := secrets.Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			out = append(out, belonging{"Secret", s, func(ctx context.Context, opts metav1.DeleteOptions) error {
				return secrets.Delete(ctx, name, opts)
			}})
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("read Secret %s: %w", name, err)
		}
	}

	return out, nil
}

// flinkJobs are all of a namespace, whole or not, whatever place they were recorded for; none where FlinkJob is not known.
func flinkJobs(ctx context.Context, jobs dynamic.ResourceInterface) ([]belonging, error) {
	var out []belonging
	for opts := (metav1.ListOptions{Limit: page}); ; {
		call, cancel := context.WithTimeout(ctx, callLimit)
		l, err := jobs.List(call, opts)
		cancel()
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list FlinkJob objects: %w", err)
		}
		for i := range l.Items {
			j := &l.Items[i]
			out = append(out, belonging{kind, j, func(ctx context.Context, opts metav1.DeleteOptions) error {
				return jobs.Delete(ctx, j.GetName(), opts)
			}})
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return out, nil
		}
	}
}
