package admin

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/store"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

// ListTenants implements TenantService.
func (s *service) ListTenants(context.Context, *adminv1.ListTenantsRequest) (*adminv1.ListTenantsResponse, error) {
	view := s.cfg.Store.View()
	var items []*adminv1.Tenant
	for _, t := range view.Tenants() {
		items = append(items, adminv1.Tenant_builder{Name: t.Name}.Build())
	}

	return adminv1.ListTenantsResponse_builder{Items: items}.Build(), nil
}

// IssueAdmin implements AdminService.
func (s *service) IssueAdmin(ctx context.Context, req *adminv1.IssueAdminRequest) (*adminv1.IssueAdminResponse, error) {
	c, err := s.cfg.IssueAdmin(ctx, whoIs(ctx), req.GetName(), req.GetCsr())
	if err != nil {
		return nil, err
	}

	return adminv1.IssueAdminResponse_builder{
		Certificate: c.Certificate, CaBundle: c.CABundle, SpiffeId: c.SPIFFEID, NotAfter: stamp(c.NotAfter), HubAddress: c.HubAddress,
	}.Build(), nil
}

// InviteCluster implements ClusterService.
func (s *service) InviteCluster(ctx context.Context, req *adminv1.InviteClusterRequest) (*adminv1.InviteClusterResponse, error) {
	inv, err := s.cfg.Invite(ctx, whoIs(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	view := s.cfg.Store.View()

	return adminv1.InviteClusterResponse_builder{
		Cluster: s.showCluster(&view, inv.Cluster), Token: inv.Token, ExpiresAt: stamp(inv.ExpiresAt),
		CaPin: inv.CAPin, CaBundle: inv.CABundle, HubAddress: inv.HubAddress, TrustDomain: inv.TrustDomain,
	}.Build(), nil
}

// ListClusters implements ClusterService. A removed cluster is among them as long as jobs of it have last words.
func (s *service) ListClusters(context.Context, *adminv1.ListClustersRequest) (*adminv1.ListClustersResponse, error) {
	view := s.cfg.Store.View()
	var items []*adminv1.Cluster
	for _, c := range view.Clusters() {
		if c.State == store.ClusterRemoved && len(view.JobsOf(c.UID)) == 0 {
			continue
		}
		items = append(items, s.showCluster(&view, c))
	}

	return adminv1.ListClustersResponse_builder{Items: items}.Build(), nil
}

// GetCluster implements ClusterService.
func (s *service) GetCluster(_ context.Context, req *adminv1.GetClusterRequest) (*adminv1.GetClusterResponse, error) {
	view := s.cfg.Store.View()
	c, ok := view.ClusterByName(req.GetName())
	if !ok {
		return nil, noCluster(&view, req.GetName())
	}

	return adminv1.GetClusterResponse_builder{Cluster: s.showCluster(&view, c)}.Build(), nil
}

// RemoveCluster implements ClusterService.
func (s *service) RemoveCluster(ctx context.Context, req *adminv1.RemoveClusterRequest) (*adminv1.RemoveClusterResponse, error) {
	err := s.cfg.Remove(ctx, whoIs(ctx), req.GetName(), req.GetForce())
	if err == nil {
		return new(adminv1.RemoveClusterResponse), nil
	}
	if s.wireError(err).Code() == codeNotFound {
		view := s.cfg.Store.View()

		return nil, noCluster(&view, req.GetName())
	}

	return nil, err
}

func noCluster(view *store.View, name string) error {
	var known []string
	for _, c := range view.Clusters() {
		if c.State != store.ClusterRemoved {
			known = append(known, c.Name)
		}
	}

	return notFound("cluster", name, known)
}

func (s *service) showCluster(view *store.View, c store.Cluster) *adminv1.Cluster {
	session := s.cfg.Session(c.UID)
	now := time.Now()

	return adminv1.Cluster_builder{
		Name: c.Name, Uid: c.UID, State: c.State,
		CreatedAt: stamp(c.CreatedAt), JoinedAt: stamp(c.JoinedAt),
		Connected: Freshness(c, session, now) == Live,
		LastSeen:  stamp(session.LastSeen), AgentVersion: session.AgentVersion,
		CertificateExpiresAt: stamp(c.CertNotAfter),
		RowsPending:          clamp(session.Pending), Rows: clamp(len(view.JobsOf(c.UID))),
		Message:     explainCluster(c, session, now),
		MemoryTotal: session.MemoryTotal, MemoryUsed: session.MemoryUsed, FlinkVersions: session.FlinkVersions,
		Resumes: clamp(session.Resumes),
	}.Build()
}

// explainCluster is the one sentence on a cluster; "" when all is well.
func explainCluster(c store.Cluster, s Session, now time.Time) string {
	switch {
	case c.State == store.ClusterRemoved || c.Banned:
		return fmt.Sprintf("Removed on %s; its agent is not let in", c.RemovedAt.UTC().Format(time.DateOnly))
	case c.State == store.ClusterInvited:
		return "Waiting for its agent to join"
	case !s.Up && !now.Before(c.CertNotAfter) && c.EnrolmentKey == "":
		return fmt.Sprintf("Not connected, and its certificate ended %s: invite it again and give its agent the new token",
			c.CertNotAfter.UTC().Format(time.RFC3339))
	case s.Message != "":
		return s.Message
	case !s.Up && !now.Before(c.CertNotAfter):
		return fmt.Sprintf("Not connected, and its certificate ended %s: its agent comes back by itself when it reaches the hub; "+
			"invite the cluster again only if the agent's identity is lost", c.CertNotAfter.UTC().Format(time.RFC3339))
	case !s.Up && s.LastSeen.IsZero():
		return "Not connected since the hub started"
	case !s.Up:
		return fmt.Sprintf("Not connected since %s", s.LastSeen.UTC().Format(time.RFC3339))
	case now.Sub(s.LastSeen) > LiveFor:
		return fmt.Sprintf("Silent since %s", s.LastSeen.UTC().Format(time.RFC3339))
	default:
		return ""
	}
}

func clamp(n int) int32 { return int32(min(n, math.MaxInt32)) }
