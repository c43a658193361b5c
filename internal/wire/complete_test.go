package wire

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/flink"
)

// filled sets every field of a struct, at any depth, to something.
func filled(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			filled(t, field)
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Int32:
		v.SetInt(7)
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"x"}))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"x": "y"}))
	default:
		t.Fatalf("%s: teach this test", v.Type())
	}
}

func TestNoFieldOfASpecIsLostOnTheWire(t *testing.T) {
	var want flink.Spec
	filled(t, reflect.ValueOf(&want).Elem())
	p := SpecToProto(want)
	if diff := cmp.Diff(want, SpecFromProto(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	fields := p.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if !p.ProtoReflect().Has(fields.Get(i)) {
			t.Errorf("%s is never written", fields.Get(i).FullName())
		}
	}
}
