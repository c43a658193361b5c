package store

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
	"github.com/waterwheel-io/waterwheel/flink"
)

func TestAnObjectDeletedByHandIsWrittenAgainHoweverOftenThatFails(t *testing.T) {
	p := newPlace(t)
	s, woken, stop := p.run()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	p.patch("a", `{"metadata":{"annotations":{"`+HoldAnnotation+`":"watched"}}}`)
	<-woken // by the watch, which is up then: it could not be begun while nothing can be asked
	before := p.calls.writes.Load()
	p.calls.die(0, false)
	p.delete("a")
	await(t, "the first try fails", func() bool { return p.calls.writes.Load() > before })
	p.calls.live()
	await(t, "the object is written again", func() bool {
		_, err := p.objects.Get(t.Context(), "a", metav1.GetOptions{})

		return err == nil
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// What the watch tells late of a job that was removed is the agent's own word, and no other agent's.
func TestAnObjectThatWasRemovedIsNoOtherAgentsHoweverLateTheWatch(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	record(t, s, recordstest.Frame(1, recordstest.Order("a", 1, 1, 1, 1)))
	save(t, s, "a", memory(1, 1))
	late, err := p.objects.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	record(t, s, recordstest.Frame(2, recordstest.Tombstone("a", 1, 2, 1, flink.DeleteCancel)))
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(t.Context(), s.Reports()); err != nil {
		t.Fatal(err)
	}
	before := p.calls.writes.Load()
	_, changed, err := s.b.hear(t.Context(), "a", event{obj: late, at: late.GetResourceVersion()})
	if changed || err != nil || p.calls.writes.Load() != before {
		t.Errorf("changed %v, %d writes, err = %v", changed, p.calls.writes.Load()-before, err)
	}
}
