package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

func (a *app) clusterCmd() *cobra.Command {
	return group("cluster", "Invite, list, show and remove clusters", a.inviteCmd(), a.clusterGetCmd("list"), a.clusterGetCmd("get"), a.removeCmd())
}

// clusterGetCmd is get clusters under the name that lies near.
func (a *app) clusterGetCmd(verb string) *cobra.Command {
	use, short, most := "list", "List the clusters", 0
	if verb == "get" {
		use, short, most = "get NAME", "Show one cluster", 1
	}
	var form output
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(most, most),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := form.check(); err != nil {
				return err
			}
			return a.run(func(cmd *cobra.Command, h *hub, args []string) error {
				g := getter{app: a, hub: h, out: cmd.OutOrStdout(), form: form, kind: "clusters", name: strings.Join(args, "")}
				return g.once(cmd.Context())
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP((*string)(&form), "output", "o", "", "wide, json or yaml")
	return cmd
}

func (a *app) removeCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Forget a cluster; refused while jobs are assigned to it", Args: args(1, 1),
		RunE: a.run(func(cmd *cobra.Command, h *hub, args []string) error {
			name, err := named("cluster", args[0])
			if err != nil {
				return err
			}
			req := adminv1.RemoveClusterRequest_builder{Name: name, Force: force}.Build()
			if _, err := h.clusters.RemoveCluster(cmd.Context(), req); err != nil {
				return err
			}
			say(cmd, "cluster/%s removed", name)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "for a cluster that is dead: its agent is never let in again, its jobs keep their last words")
	return cmd
}

func (a *app) clusterTable(clusters []*adminv1.Cluster, wide bool) *table {
	header := []string{"NAME", "STATE", "CONNECTED", "LAST-SEEN", "VERSION", "CERT-EXPIRY", "PENDING", "JOBS"}
	if wide {
		header = append(header, "MEMORY", "FLINK", "UID", "MESSAGE")
	}
	t := newTable(header...)
	for _, c := range clusters {
		row := []cell{
			plain(c.GetName()), plain(c.GetState()), connectedCell(c), aging(age(a.now(), c.GetLastSeen())), plain(c.GetAgentVersion()),
			aging(until(a.now(), c.GetCertificateExpiresAt())), number(c.GetRowsPending()), number(c.GetRows()),
		}
		if wide {
			row = append(row, plain(memory(c)), plain(strings.Join(c.GetFlinkVersions(), ",")), plain(c.GetUid()), plain(c.GetMessage()))
		}
		t.add(row...)
	}
	return t
}

func connectedCell(c *adminv1.Cluster) cell {
	switch {
	case c.GetConnected():
		return cell{text: "yes", colour: green}
	case c.GetState() == "invited":
		return cell{text: "no", colour: yellow}
	}
	return cell{text: "no", colour: red}
}

// memory is how much of the declared memory of a cluster is taken.
func memory(c *adminv1.Cluster) string {
	if c.GetMemoryTotal() == 0 {
		if c.GetMemoryUsed() == 0 {
			return ""
		}
		return bytesText(c.GetMemoryUsed())
	}
	return fmt.Sprintf("%s/%s", bytesText(c.GetMemoryUsed()), bytesText(c.GetMemoryTotal()))
}
