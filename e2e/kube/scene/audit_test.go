package scene

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// line is a line of an audit log, seconds after the hour.
func line(second int, user, verb, resource, sub string, code int) string {
	at := time.Date(2026, 1, 2, 3, 0, second, 0, time.UTC).Format(time.RFC3339Nano)
	return fmt.Sprintf(`{"verb":%q,"user":{"username":%q},"objectRef":{"resource":%q,"subresource":%q},"responseStatus":{"code":%d},"requestReceivedTimestamp":%q,"stageTimestamp":%q}`+"\n",
		verb, user, resource, sub, code, at, at)
}

func TestATallyCountsWhatOneUserAskedInTheWindow(t *testing.T) {
	from := time.Date(2026, 1, 2, 3, 0, 10, 0, time.UTC)
	log := line(9, "agent", "get", "configmaps", "", 200) + // before
		line(10, "agent", "update", "flinkjobs", "status", 200) +
		line(11, "agent", "update", "flinkjobs", "status", 409) +
		line(12, "agent", "create", "services", "", 201) +
		line(12, "agent", "patch", "deployments", "", 201) +
		line(12, "agent", "patch", "deployments", "", 200) +
		line(13, "agent", "get", "secrets", "", 404) +
		line(14, "agent", "list", "pods", "", 200) +
		line(15, "agent", "watch", "pods", "", 200) +
		line(16, "agent", "update", "leases", "", 200) +
		line(17, "another", "create", "pods", "", 201) +
		line(20, "agent", "create", "services", "", 201) + // after
		`{"verb":"create","user":{"usern` // half written
	got, err := count(strings.NewReader(log), "agent", from, from.Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if got.Requests != 7 || got.Created != 2 || got.Lists != 1 || got.Failed != 1 || got.Watches != 1 || got.Leases != 1 {
		t.Errorf("%+v", got)
	}
	want := "patch:deployments=2,update:flinkjobs/status=2,create:services=1,get:secrets=1,list:pods=1"
	if got.Words() != want {
		t.Errorf("words %q, want %q", got.Words(), want)
	}
	if (Tally{}).Words() != "none" {
		t.Errorf("of nothing: %q", Tally{}.Words())
	}
}

func TestALogThatIsNotUnderstoodIsNotCounted(t *testing.T) {
	if _, err := count(strings.NewReader("no JSON\n"), "agent", time.Time{}, time.Now()); err == nil {
		t.Error("it was")
	}
}
