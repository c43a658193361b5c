package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// difference is one place where a live object has not the value that it was made with.
type difference struct {
	path  string
	live  string // the value that it has, in full
	words string // for people
}

// differences are those of a live object from what it was made as, in the order
// of its fields. What it has beyond is not looked at: defaults, status, and what
// others add and own.
func differences(want, live fields) []difference {
	var c comparison
	c.at(nil, map[string]any(want), map[string]any(live))
	return c.found
}

// comparison collects differences. Paths share their memory: what is kept of one is its text.
type comparison struct{ found []difference }

func (c *comparison) add(path []string, words string, live any) {
	c.found = append(c.found, difference{path: strings.Join(path, "."), live: fmt.Sprint(live), words: words})
}

func (c *comparison) at(path []string, want, live any) {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok && len(w) > 0 {
			c.add(path, told(path, want, live), live)
			return
		}
		for _, k := range sortedKeys(w) {
			if len(path) == 0 && (k == "apiVersion" || k == "kind") {
				continue // of the same resource, and caches leave them out
			}
			c.at(append(path, k), w[k], l[k])
		}
	case []any:
		l, _ := live.([]any)
		c.list(path, w, l)
	default:
		if !same(path, want, live) {
			c.add(path, told(path, want, live), live)
		}
	}
}

// list compares lists: those whose elements have a name by name, as the API
// merges them, all others element by element.
func (c *comparison) list(path []string, want, live []any) {
	key := nameOf(want)
	if key == "" {
		if len(want) != len(live) {
			c.add(path, told(path, want, live), live)
			return
		}
		for i := range want {
			c.at(append(path, fmt.Sprint(i)), want[i], live[i])
		}
		return
	}
	for _, w := range want {
		name := w.(map[string]any)[key]
		i := slices.IndexFunc(live, func(l any) bool {
			m, ok := l.(map[string]any)
			return ok && reflect.DeepEqual(m[key], name)
		})
		at := slices.Concat(path, []string{fmt.Sprint(name)})
		if i < 0 {
			c.add(at, strings.Join(at, ".")+" is missing", nil)
			continue
		}
		c.at(at, w, live[i])
	}
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

// told says how a value is not what it was made as. Values of environment variables are nobody's business: what is told
// leaves the cluster.
func told(path []string, want, live any) string {
	where := strings.Join(path, ".")
	if slices.Contains(path, "env") || hasEnv(want) || hasEnv(live) {
		if live == nil {
			return where + " is missing"
		}
		return where + " is not as it was made"
	}
	short := func(v any) string {
		if v == nil {
			return "missing"
		}
		return cut(fmt.Sprint(v), maxTold)
	}
	return fmt.Sprintf("%s is %s, made as %s", where, short(live), short(want))
}

// hasEnv reports whether a value has environment variables in it, however deep.
func hasEnv(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if k == "env" || hasEnv(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasEnv)
	}
	return false
}

// cut is somebody else's text as it may be passed on: valid UTF-8, as protobuf asks for, of at most so many bytes and a mark.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
