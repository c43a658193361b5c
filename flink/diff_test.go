package flink

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// leaves calls visit with each settable leaf of a struct, and its path in Go.
func leaves(v reflect.Value, path string, visit func(leaf reflect.Value, path string)) {
	for field, f := range v.Fields() {
		at := path + "." + field.Name
		if f.Kind() == reflect.Struct {
			leaves(f, at, visit)
		} else {
			visit(f, at)
		}
	}
}

func TestDiffKnowsEveryFieldOfASpec(t *testing.T) {
	n := 0
	var spec Spec
	leaves(reflect.ValueOf(&spec).Elem(), "Spec", func(leaf reflect.Value, path string) {
		n++
		switch leaf.Kind() {
		case reflect.String:
			leaf.SetString("x")
		case reflect.Int32:
			leaf.SetInt(7)
		case reflect.Slice:
			leaf.Set(reflect.ValueOf([]string{"x"}))
		case reflect.Map:
			leaf.Set(reflect.ValueOf(map[string]string{"x": "y"}))
		default:
			t.Fatalf("%s is a %s: teach this test", path, leaf.Kind())
		}
		if got := Diff(Spec{}, spec); len(got) != n {
			t.Errorf("after %s was set: %d fields differ, want %d: %q", path, len(got), n, got)
		}
	})
}

func TestDiffAndSpecEqualAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anySpec().Draw(t, "a"), anySpec().Draw(t, "b")
		if SpecEqual(a, b) != (len(Diff(a, b)) == 0) {
			t.Fatalf("SpecEqual %v, Diff %q", SpecEqual(a, b), Diff(a, b))
		}
		if d := Diff(a, a.Clone()); len(d) > 0 || !SpecEqual(a, a.Clone()) {
			t.Fatalf("a spec differs from its clone: %q", d)
		}
	})
}
