package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// differs says where a live object has not the value that it was made with, or
// "". What the object has beyond is not looked at: defaults, status, and what
// others add and own.
func differs(want, live fields) string {
	return differsAt(nil, map[string]any(want), map[string]any(live))
}

func differsAt(path []string, want, live any) string {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok && len(w) > 0 {
			return told(path, want, live)
		}
		for _, k := range sortedKeys(w) {
			if len(path) == 0 && (k == "apiVersion" || k == "kind") {
				continue // of the same resource, and caches leave them out
			}
			if d := differsAt(append(path, k), w[k], l[k]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		l, _ := live.([]any)
		return listDiffers(path, w, l)
	}
	if same(path, want, live) {
		return ""
	}
	return told(path, want, live)
}

// listDiffers compares lists: those whose elements have a name by name, as the
// API merges them, all others element by element.
func listDiffers(path []string, want, live []any) string {
	key := nameOf(want)
	if key == "" {
		if len(want) != len(live) {
			return told(path, want, live)
		}
		for i := range want {
			if d := differsAt(append(path, fmt.Sprint(i)), want[i], live[i]); d != "" {
				return d
			}
		}
		return ""
	}
	for _, w := range want {
		name := w.(map[string]any)[key]
		i := slices.IndexFunc(live, func(l any) bool {
			m, ok := l.(map[string]any)
			return ok && reflect.DeepEqual(m[key], name)
		})
		at := slices.Concat(path, []string{fmt.Sprint(name)})
		if i < 0 {
			return strings.Join(at, ".") + " is missing"
		}
		if d := differsAt(at, w, live[i]); d != "" {
			return d
		}
	}
	return ""
}

// nameOf is the field by which all elements of a list are told apart, "" if there is none.
func nameOf(list []any) string {
	for _, key := range []string{"name", "mountPath", "uid"} {
		seen := map[any]bool{}
		for _, e := range list {
			m, ok := e.(map[string]any)
			if !ok {
				return ""
			}
			name, ok := m[key].(string)
			if !ok || seen[name] {
				break
			}
			seen[name] = true
		}
		if len(list) > 0 && len(seen) == len(list) {
			return key
		}
	}
	return ""
}

// same compares scalars; quantities by their amount.
func same(path []string, want, live any) bool {
	if reflect.DeepEqual(want, live) {
		return true
	}
	if live == nil { // left out where it is the zero value
		return want == nil || reflect.ValueOf(want).IsZero()
	}
	quantity := slices.ContainsFunc(path, func(p string) bool { return p == "limits" || p == "requests" || p == "sizeLimit" })
	if !quantity {
		return false
	}
	a, errA := resource.ParseQuantity(fmt.Sprint(want))
	b, errB := resource.ParseQuantity(fmt.Sprint(live))
	return errA == nil && errB == nil && a.Cmp(b) == 0
}

// maxTold bounds how much of a value is shown to people.
const maxTold = 60

func told(path []string, want, live any) string {
	short := func(v any) string {
		if v == nil {
			return "missing"
		}
		s := fmt.Sprint(v)
		if len(s) > maxTold {
			s = s[:maxTold] + "…"
		}
		return s
	}
	return fmt.Sprintf("%s is %s, made as %s", strings.Join(path, "."), short(live), short(want))
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
