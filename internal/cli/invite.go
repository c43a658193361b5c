package cli

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

// invitation is what whoever runs the invited cluster is told.
type invitation struct {
	*adminv1.InviteClusterResponse
	now       time.Time
	chart     string // where Helm finds the agent's chart
	namespace string // of the agent
}

func (a *app) inviteCmd() *cobra.Command {
	var form output
	var address string
	inv := invitation{}
	cmd := &cobra.Command{
		Use: "invite NAME", Short: "Make a cluster known and get the command with which its agent is installed and joins, once", Args: args(1, 1),
		Example: "  waterwheel cluster invite eu-1\n  waterwheel cluster invite eu-1 --hub-address hub.example.org:7443 --chart ./waterwheel-agent-0.2.0.tgz",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := form.check(); err != nil {
				return err
			}
			if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
				return usagef("--hub-address %q: want host:port", address)
			}
			return a.run(func(cmd *cobra.Command, h *hub, args []string) error {
				var err error
				inv.InviteClusterResponse, err = h.clusters.InviteCluster(cmd.Context(), adminv1.InviteClusterRequest_builder{Name: args[0]}.Build())
				if err != nil {
					return err
				}
				if address != "" {
					inv.SetHubAddress(address)
				}
				if form == asJSON || form == asYAML {
					return form.one(cmd.OutOrStdout(), inv.InviteClusterResponse)
				}
				inv.now = a.now()
				return inv.write(cmd.OutOrStdout())
			})(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP((*string)(&form), "output", "o", "", "json or yaml, with the hub's roots")
	f.StringVar(&address, "hub-address", "", "host:port at which that cluster reaches the hub, if it is another than the hub says")
	f.StringVar(&inv.chart, "chart", "charts/waterwheel-agent", "where Helm finds the agent's chart: a directory, a file, or an address")
	f.StringVar(&inv.namespace, "namespace", "waterwheel-agent", "namespace for the agent")
	return cmd
}

// write tells first how to join in Kubernetes, then how on a host.
func (v invitation) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, `cluster/%s invited. Its token works once, until %s (%s); inviting it again voids it.

In Kubernetes, whoever runs that cluster installs the agent with:

%s
The token goes into a Secret, which the agent deletes once it has joined. The namespaces in which jobs may run, and their quotas,
are tenants[] of the chart's values (docs/operations/install.md). To be read first by whoever allows it: what the agent may do
there (docs/security.md, and in words waterwheel-agent rbac), and every object that is made (helm template with the same flags).

On a host, the first three go into the agent's file, and the token into the file that its hub.tokenFile names:

  hub.address       %s
  hub.trustDomain   %s
  hub.caPin         %s
  token             %s
`,
		oneLine(v.GetCluster().GetName()), v.GetExpiresAt().AsTime().Format(time.RFC3339), until(v.now, v.GetExpiresAt()), v.helm(),
		oneLine(v.GetHubAddress()), oneLine(v.GetTrustDomain()), oneLine(v.GetCaPin()), oneLine(v.GetToken()))
	return err
}

// helm is the command that installs the agent, for a shell.
func (v invitation) helm() string {
	parts := []string{
		"helm upgrade --install waterwheel-agent " + shellWord(v.chart),
		"--namespace " + shellWord(v.namespace) + " --create-namespace",
	}
	for _, s := range [][2]string{
		{"hub.address", v.GetHubAddress()},
		{"hub.trustDomain", v.GetTrustDomain()},
		{"hub.caPin", v.GetCaPin()},
		{"clusterName", v.GetCluster().GetName()},
		{"join.token", v.GetToken()},
	} {
		parts = append(parts, "--set-string "+shellWord(s[0]+"="+helmValue(s[1])))
	}
	return "  " + strings.Join(parts, " \\\n    ") + "\n"
}

// helmValue is a value as --set reads it: a comma would begin the next one, a brace a list.
func helmValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `{`, `\{`, `}`, `\}`).Replace(s)
}

// shellWord is a text as one word of a shell's command line.
func shellWord(s string) string {
	unsafe := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, unsafe) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
