package main

import (
	"strings"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
)

func TestAJobHasArrivedOnceItIsInSyncAndNothingIsLeftToDo(t *testing.T) {
	a := newArrivals(2)
	a.settle("a") // not in sync
	a.see("a", true)
	a.see("a", false)
	a.settle("a")
	if a.left() != 2 {
		t.Fatalf("%d left, want 2", a.left())
	}
	for range 2 {
		a.see("a", true)
		a.settle("a")
	}
	select {
	case <-a.all:
		t.Fatal("all arrived, and one did not")
	default:
	}
	a.see("b", true)
	a.settle("b")
	<-a.all
}

func TestTheRatioIsOfObjectsASecond(t *testing.T) {
	r := result{
		n: 10, objects: 100, agent: 4 * time.Second, raw: 100, rawTook: 2 * time.Second, cpu: 5 * time.Second, rawCPU: 4 * time.Second,
		asked: scene.Tally{Requests: 130, Created: 100 + beside},
	}
	for _, want := range []string{"n=10 ", "objects_per_s=25.0 ", "raw_objects_per_s=50.0 ", " ratio=0.50 ", "cpu_ratio=0.80 ", "requests_per_object=1.30 ", "flink=stand-in"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%s\nhas no %q", r, want)
		}
	}
	if err := r.err(); err != nil {
		t.Error(err)
	}
	r.asked.Created--
	if r.err() == nil {
		t.Error("an object is missing, and nobody says so")
	}
}
