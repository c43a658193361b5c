package render

import (
	"bytes"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Object is any object of a run.
type Object interface {
	metav1.Object
	runtime.Object
}

// Objects are all objects of one run but the Secret of its keys, see Secret.
type Objects struct {
	ConfigMap   *corev1.ConfigMap // the anchor: created first, owns all others
	JobManager  *appsv1.Deployment
	TaskManager *appsv1.Deployment
	REST        *corev1.Service
	RPC         *corev1.Service // nil with high availability
	Policies    []*networkingv1.NetworkPolicy
}

// All lists the objects in the order in which they are to be made: the anchor,
// what lets nothing in, what names the pods, the pods.
func (o Objects) All() []Object {
	all := []Object{o.ConfigMap}
	for _, p := range o.Policies {
		all = append(all, p)
	}
	all = append(all, o.REST)
	if o.RPC != nil {
		all = append(all, o.RPC)
	}
	return append(all, o.JobManager, o.TaskManager)
}

// Owned returns copies that are owned by the anchor, once it has been created
// and its uid is known.
func (o Objects) Owned(anchor types.UID) Objects {
	owned := Objects{
		ConfigMap: o.ConfigMap.DeepCopy(), JobManager: o.JobManager.DeepCopy(), TaskManager: o.TaskManager.DeepCopy(),
		REST: o.REST.DeepCopy(), RPC: o.RPC.DeepCopy(),
	}
	for _, p := range o.Policies {
		owned.Policies = append(owned.Policies, p.DeepCopy())
	}
	for _, obj := range owned.All()[1:] {
		own(obj, o.ConfigMap.Name, anchor)
	}
	return owned
}

// own makes an object go with its anchor. It is no controller of it: nothing
// watches over an anchor but the agent.
func own(obj Object, anchor string, uid types.UID) {
	obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: anchor, UID: uid}})
}

// Apply is the body of a server-side apply of an object.
func Apply(obj Object) ([]byte, error) {
	fields, err := Fields(obj)
	if err != nil {
		return nil, err
	}
	return encode(fields)
}

// Fields are those of an object that are applied: what was rendered and nothing
// else, so that no field is claimed of which nothing was said.
func Fields(obj Object) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", obj.GetObjectKind().GroupVersionKind().Kind, obj.GetName(), err)
	}
	delete(fields, "status")
	said(fields)
	return fields, nil
}

// said leaves out what is nil and the templates' empty metadata and resources,
// which Go writes for structs of which nothing was set.
func said(fields map[string]any) {
	for key, value := range fields {
		switch v := value.(type) {
		case nil:
			delete(fields, key)
		case map[string]any:
			said(v)
			if len(v) == 0 && (key == "metadata" || key == "resources" || key == "strategy") {
				delete(fields, key)
			}
		case []any:
			for _, item := range v {
				if m, ok := item.(map[string]any); ok {
					said(m)
				}
			}
		}
	}
}

// encode is JSON with its characters as they are: what is written is read by people, too.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
