package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Where the raw loop makes its objects.
const (
	rawOwn       = "raw-agent"
	rawNamespace = "raw-team"
)

// object is one to be made: where it is posted, and its text.
type object struct{ path, text string }

// made are the objects that the agent made of the orders, as it rendered them, for the raw loop's namespaces: first
// those that own others.
func made(ctx context.Context, c *scene.Cluster, orders []flink.Order) ([][]object, error) {
	secrets, err := c.Client.CoreV1().Secrets(scene.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	keys := make(map[string]*corev1.Secret, len(secrets.Items))
	for i := range secrets.Items {
		keys[secrets.Items[i].Name] = &secrets.Items[i]
	}
	var records, anchors, owned []object
	for _, o := range orders {
		record, err := c.Any.Resource(scene.FlinkJobs()).Namespace(scene.Own).Get(ctx, o.UID, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read FlinkJob of %s: %w", o.Name, err)
		}
		records = append(records, object{"/apis/agent.waterwheel.dev/v1/namespaces/" + rawOwn + "/flinkjobs", bare(record)})
		anchor, err := c.Client.CoreV1().ConfigMaps(scene.Namespace).Get(ctx, render.Name(scene.FirstRun(o)), metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read ConfigMap of %s: %w", o.Name, err)
		}
		run, err := ofRun(anchor, keys)
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", o.Name, err)
		}
		anchors, owned = append(anchors, run[0]), append(owned, run[1:]...)
	}
	return [][]object{records, anchors, owned}, nil
}

// bare is an object as it was sent to be made, without what came later.
func bare(u *unstructured.Unstructured) string {
	fresh := unstructured.Unstructured{Object: map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "spec": u.Object["spec"],
		"metadata": map[string]any{"name": u.GetName()},
	}}
	fresh.SetLabels(u.GetLabels())
	text, err := fresh.MarshalJSON()
	if err != nil {
		panic(fmt.Sprintf("an object from the API has no JSON form: %v", err))
	}
	return string(text)
}

// ofRun are the objects of a run, its anchor first.
func ofRun(anchor *corev1.ConfigMap, keys map[string]*corev1.Secret) ([]object, error) {
	o, err := render.ObjectsOf(anchor)
	if err != nil {
		return nil, err
	}
	l, err := render.LaunchOf(anchor)
	if err != nil {
		return nil, err
	}
	service, err := render.JobService(l, scene.Place(""))
	if err != nil {
		return nil, err
	}
	secret := keys[render.RESTName(l.Run)]
	if secret == nil {
		return nil, fmt.Errorf("run %s has no Secret", l.Run)
	}
	fresh := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Data: secret.Data, Type: secret.Type, Immutable: secret.Immutable,
		ObjectMeta: metav1.ObjectMeta{Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences},
	}
	all := append(o.All(), service, fresh)
	out := make([]object, len(all))
	for i, obj := range all {
		obj.SetNamespace(rawNamespace)
		obj.SetResourceVersion("")
		obj.SetUID("")
		obj.SetManagedFields(nil)
		obj.SetCreationTimestamp(metav1.Time{})
		text, err := render.Apply(obj)
		if err != nil {
			return nil, err
		}
		kind := obj.GetObjectKind().GroupVersionKind().Kind
		out[i] = object{paths()[kind], string(text)}
	}
	return out, nil
}

// paths are where objects of each kind are posted.
func paths() map[string]string {
	return map[string]string{
		"ConfigMap":     "/api/v1/namespaces/" + rawNamespace + "/configmaps",
		"Secret":        "/api/v1/namespaces/" + rawNamespace + "/secrets",
		"Service":       "/api/v1/namespaces/" + rawNamespace + "/services",
		"Deployment":    "/apis/apps/v1/namespaces/" + rawNamespace + "/deployments",
		"NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/" + rawNamespace + "/networkpolicies",
	}
}

func count(groups [][]object) int {
	n := 0
	for _, g := range groups {
		n += len(g)
	}
	return n
}

// raw posts all objects, group after group, as fast as it can, and says how many it made.
func raw(ctx context.Context, c *scene.Cluster, groups [][]object) (int, error) {
	if err := c.Namespaces(ctx, rawOwn, rawNamespace); err != nil {
		return 0, err
	}
	client, err := kubernetes.NewForConfig(c.Admin)
	if err != nil {
		return 0, fmt.Errorf("make a client: %w", err)
	}
	n := 0
	for _, g := range groups {
		done, err := post(ctx, client, g)
		n += done
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func post(ctx context.Context, client kubernetes.Interface, all []object) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, made atomic.Int64
	var workers sync.WaitGroup
	for range abreast {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				o := all[i]
				res := client.CoreV1().RESTClient().Post().AbsPath(o.path).SetHeader("Content-Type", "application/json").Body([]byte(o.text)).Do(ctx)
				if err := res.Error(); err != nil {
					cancel(fmt.Errorf("post to %s: %w", o.path, err))
					return
				}
				made.Add(1)
			}
		})
	}
	workers.Wait()
	return int(made.Load()), context.Cause(ctx)
}
