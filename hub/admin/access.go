package admin

import (
	"errors"
	"fmt"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Caller is whom a method is for.
type Caller string

// The callers. A method for Nobody carries its own proof and is open to those without a certificate.
const (
	Nobody  Caller = "none"
	Cluster Caller = Caller(identity.RoleCluster)
	Admin   Caller = Caller(identity.RoleAdmin)
)

// ErrDenied is wrapped by every refusal of Authorize.
var ErrDenied = errors.New("not allowed")

// access is who may call what, on both ports. A method that is missing here cannot be called.
var access = map[string]Caller{
	"/waterwheel.agent.v1.EnrolService/Enrol":    Nobody,
	"/waterwheel.agent.v1.EnrolService/Reattest": Nobody,
	"/waterwheel.agent.v1.EnrolService/Renew":    Cluster,
	"/waterwheel.agent.v1.SyncService/Sync":      Cluster,

	"/waterwheel.admin.v1.AdminService/IssueAdmin":      Admin,
	"/waterwheel.admin.v1.TenantService/ListTenants":    Admin,
	"/waterwheel.admin.v1.ClusterService/InviteCluster": Admin,
	"/waterwheel.admin.v1.ClusterService/ListClusters":  Admin,
	"/waterwheel.admin.v1.ClusterService/GetCluster":    Admin,
	"/waterwheel.admin.v1.ClusterService/RemoveCluster": Admin,
	"/waterwheel.admin.v1.JobService/ApplyJob":          Admin,
	"/waterwheel.admin.v1.JobService/GetJob":            Admin,
	"/waterwheel.admin.v1.JobService/ListJobs":          Admin,
	"/waterwheel.admin.v1.JobService/DeleteJob":         Admin,
	"/waterwheel.admin.v1.JobService/RestartJob":        Admin,
}

// Authorize says whether a caller may call a method, named /package.Service/Method as it was registered. The zero ID is
// a caller without a certificate. A caller with one may also call what is for nobody: an agent with an old certificate
// joins again.
func Authorize(method string, caller identity.ID) error {
	want, known := access[method]
	switch {
	case !known:
		return fmt.Errorf("%w: %s is for nobody to call", ErrDenied, method)
	case want == Nobody:
		return nil
	case caller.IsZero():
		return fmt.Errorf("%w: %s needs a client certificate of role %s", ErrDenied, method, want)
	case Caller(caller.Role()) != want:
		return fmt.Errorf("%w: %s is for role %s, not for %s", ErrDenied, method, want, caller)
	}

	return nil
}
