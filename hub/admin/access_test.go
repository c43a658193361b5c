package admin_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/internal/identity"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	agentv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/agent/v1"
)

func id(t *testing.T, s string) identity.ID {
	t.Helper()
	got, err := identity.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}

	return got
}

func TestEveryMethodIsForExactlyTheRoleOfItsPackage(t *testing.T) {
	callers := map[string]identity.ID{
		"none": {}, "hub": id(t, "spiffe://td/hub"),
		"cluster": id(t, "spiffe://td/cluster/c1"), "admin": id(t, "spiffe://td/admin/jo"),
	}
	methods := 0
	for _, file := range []protoreflect.FileDescriptor{
		adminv1.File_waterwheel_admin_v1_admin_proto,
		agentv1.File_waterwheel_agent_v1_enrol_proto,
		agentv1.File_waterwheel_agent_v1_sync_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods++
				name := "/" + string(service.FullName()) + "/" + string(service.Methods().Get(j).Name())
				for role, caller := range callers {
					want := role == "admin"
					switch {
					case name == "/waterwheel.agent.v1.EnrolService/Enrol", name == "/waterwheel.agent.v1.EnrolService/Reattest":
						want = true
					case file.Package() == "waterwheel.agent.v1":
						want = role == "cluster"
					}
					if got := admin.Authorize(name, caller) == nil; got != want {
						t.Errorf("%s by %s: allowed %v, want %v", name, role, got, want)
					}
				}
			}
		}
	}
	if methods != 15 {
		t.Errorf("looked at %d methods, want 15: a new one needs its line in this test's rule", methods)
	}
}

func TestWhatIsNotInTheTableIsDenied(t *testing.T) {
	for _, method := range []string{
		"", "/", "/waterwheel.admin.v1.JobService/DropAll", "waterwheel.admin.v1.JobService/GetJob",
		"/waterwheel.admin.v1.JobService/GetJob/", "/waterwheel.agent.v1.EnrolService/Enrol2",
	} {
		if admin.Authorize(method, id(t, "spiffe://td/admin/jo")) == nil {
			t.Errorf("%q was allowed", method)
		}
	}
}
