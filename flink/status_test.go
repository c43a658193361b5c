package flink_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

func TestWhatCannotBeAskedAgainIsDurable(t *testing.T) {
	running := flink.Status{State: flink.Running, Snapshot: flink.Snapshot{Path: "/chk-1", Kind: flink.KindCheckpoint}}
	with := func(change func(*flink.Status)) flink.Status {
		s := running
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		next flink.Status
		want bool
	}{
		"the same":              {running, false},
		"a newer checkpoint":    {with(func(s *flink.Status) { s.Snapshot.Path = "/chk-2" }), false},
		"a savepoint":           {with(func(s *flink.Status) { s.Snapshot = flink.Snapshot{Path: "/sp", Kind: flink.KindSavepoint} }), true},
		"finished":              {with(func(s *flink.Status) { s.State = flink.Finished }), true},
		"failed":                {with(func(s *flink.Status) { s.State = flink.Failed }), true},
		"suspended":             {with(func(s *flink.Status) { s.State = flink.Suspended }), true},
		"failing, and healing":  {with(func(s *flink.Status) { s.State = flink.Failing }), false},
		"gone":                  {with(func(s *flink.Status) { s.Gone = true }), true},
		"another message alone": {with(func(s *flink.Status) { s.Message = "x" }), false},
	} {
		if got := c.next.Durable(running); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if f := with(func(s *flink.Status) { s.State = flink.Finished }); f.Durable(f) {
		t.Error("what was said already is durable again")
	}
}

// TestEqualSeesEveryField changes one field after the other: a field that is
// added later and forgotten in Equal would never be reported.
func TestEqualSeesEveryField(t *testing.T) {
	var s flink.Status
	touch(t, reflect.ValueOf(&s).Elem(), "Status", func(path string) {
		same := s.Equal(flink.Status{}) && (flink.Status{}).Equal(s)
		if want := path == "Status.AsOf"; same != want {
			t.Errorf("%s differs, and Equal says %v", path, same)
		}
	})
}

// touch sets each leaf of v in turn, calls check, and sets it back.
func touch(t *testing.T, v reflect.Value, path string, check func(path string)) {
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
		for i := range v.NumField() {
			touch(t, v.Field(i), path+"."+v.Type().Field(i).Name, check)
		}
		return
	}
	defer v.SetZero()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
	default:
		t.Fatalf("%s: no way to touch a %s", path, v.Type())
	}
	check(path)
}

func TestConditionIsFoundByType(t *testing.T) {
	s := flink.Status{Conditions: []flink.Condition{{Type: flink.ConditionReady, Status: flink.True}, {Type: flink.ConditionStalled, Status: flink.False}}}
	if s.Condition(flink.ConditionReady).Status != flink.True || s.Condition(flink.ConditionReconciling) != (flink.Condition{}) {
		t.Errorf("%+v", s)
	}
}
