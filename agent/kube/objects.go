package kube

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/waterwheel-io/waterwheel/agent/render"
)

// fields is an object as it is applied: what is in it is ours, what is not is somebody else's.
type fields map[string]any

// applied is what a rendered object is applied as.
func applied(o render.Object) (fields, error) {
	f, err := render.Fields(o)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", title(o), err)
	}
	return f, nil
}

// fieldsOf is a live object with all of its fields.
func fieldsOf(o runtime.Object) (fields, error) {
	f, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("read %T: %w", o, err)
	}
	return f, nil
}

// title is what people call an object: Deployment j…-jm.
func title(o render.Object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + " " + o.GetName()
}

// labelsOfAnchor are the labels that a run's anchor was made with: those of its other objects, but for the component.
func labelsOfAnchor(o render.Objects) map[string]string {
	out := make(map[string]string, len(o.REST.Labels))
	for k, v := range o.REST.Labels {
		if k != render.LabelComponent {
			out[k] = v
		}
	}
	return out
}

// resources says under which resource each kind is applied.
var resources = map[string]schema.GroupVersionResource{
	"Deployment":    {Group: "apps", Version: "v1", Resource: "deployments"},
	"Service":       {Version: "v1", Resource: "services"},
	"ConfigMap":     {Version: "v1", Resource: "configmaps"},
	"NetworkPolicy": {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
}

// cached is the watch that shows objects of a kind; nil: of none.
func (s *space) cached(kind string) *watched {
	switch kind {
	case "Deployment":
		return s.deployments
	case "Service":
		return s.services
	case "ConfigMap":
		return s.anchors
	case "NetworkPolicy":
		return s.policies
	}
	return nil
}

// live is an object as the watches show it.
func (s *space) live(kind, name string) (runtime.Object, metav1.Object, bool) {
	w := s.cached(kind)
	if w == nil {
		return nil, nil, false
	}
	found, ok, err := w.GetStore().GetByKey(s.namespace + "/" + name)
	if err != nil || !ok {
		return nil, nil, false
	}
	o, isObject := found.(runtime.Object)
	m, isMeta := found.(metav1.Object)
	return o, m, isObject && isMeta
}

// drift says, for people, how an object of a run is not what it was made as; "" if it is.
func (r *Runtime) drift(s *space, want render.Object) (string, error) {
	live, meta, ok := s.live(want.GetObjectKind().GroupVersionKind().Kind, want.GetName())
	if !ok {
		return title(want) + " is missing", nil
	}
	if meta.GetDeletionTimestamp() != nil {
		return title(want) + " is being deleted", nil
	}
	w, err := applied(want)
	if err != nil {
		return "", err
	}
	have, err := fieldsOf(live)
	if err != nil {
		return "", err
	}
	left := r.memo.unyielded(s.namespace, want, differences(w, have))
	if len(left) == 0 {
		return "", nil
	}
	words := title(want) + ": " + left[0].words
	if more := len(left) - 1; more > 0 {
		words += fmt.Sprintf(", and %d more of its fields", more)
	}
	return words, nil
}
