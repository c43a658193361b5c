package store

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
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
