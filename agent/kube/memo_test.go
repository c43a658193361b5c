package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestANameThatSomebodyElseHadIsAskedForAgain(t *testing.T) {
	svc := &corev1.Service{TypeMeta: metav1.TypeMeta{Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "clicks-rest"}}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var m memo
	if m.foreign("team", svc, at) {
		t.Error("it is somebody else's before it was asked for")
	}
	if !m.setForeign("team", svc, at) {
		t.Error("it is not new that it is somebody else's")
	}
	if !m.foreign("team", svc, at.Add(othersStay-time.Second)) || m.foreign("other", svc, at) {
		t.Error("it is not remembered for a while, and for its namespace alone")
	}
	again := at.Add(othersStay)
	if m.foreign("team", svc, again) {
		t.Error("it is somebody else's for ever")
	}
	if m.setForeign("team", svc, again) {
		t.Error("what stays as it is is told again")
	}
	if !m.foreign("team", svc, again.Add(time.Second)) {
		t.Error("it is asked for all the time from then on")
	}
	if m.setOurs("team", svc); m.foreign("team", svc, again) || !m.setForeign("team", svc, again) {
		t.Error("what was ours meanwhile is not told when it is somebody else's once more")
	}
}
