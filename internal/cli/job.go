package cli

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/flink"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

func (a *app) whyCmd() *cobra.Command {
	return &cobra.Command{
		Use: "why JOB", Short: "Say in one sentence what a job is doing or waiting for", Args: args(1, 1),
		RunE: a.run(func(cmd *cobra.Command, h *hub, args []string) error {
			name, err := jobName(args[0])
			if err != nil {
				return err
			}
			j, err := h.job(cmd.Context(), name)
			if err != nil {
				return err
			}
			s := j.GetStatus()
			text := orElse(sentence(s), "Nothing is known of it yet")
			if s.GetFreshness() != freshnessLive {
				text += " (" + freshness(a.now(), s) + ")"
			}
			say(cmd, "%s", oneLine(text))
			return nil
		}),
	}
}

func (a *app) restartCmd() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "restart JOB", Short: "Start a job anew with its state, also a Failed one, or from a snapshot that you name", Args: args(1, 1),
		Long: `Start a job anew with its state, also one that is Failed or Finished. What runs is stopped with a savepoint first.

With --from it starts from the checkpoint or savepoint at PATH, this once, whatever else is on record: the answer to a job
that waits because its newest state cannot be told. What the job did after that snapshot, it does again; the savepoint
of what ran until then stays, and is named in the job's history.`,
		Example: "  waterwheel restart clicks\n  waterwheel restart clicks --from s3://bucket/state/savepoints/savepoint-1a2b3c",
		RunE: a.run(func(cmd *cobra.Command, h *hub, args []string) error {
			name, err := jobName(args[0])
			if err != nil {
				return err
			}
			req := adminv1.RestartJobRequest_builder{Tenant: h.tenant, Name: name, From: from}.Build()
			if cmd.Flags().Changed("from") && from == "" {
				return usagef("--from wants the path of a checkpoint or savepoint")
			}
			if _, err := h.jobs.RestartJob(cmd.Context(), req); err != nil {
				return err
			}
			if from != "" {
				say(cmd, "job/%s restarting from %s", name, from)
				return nil
			}
			say(cmd, "job/%s restarting", name)
			return nil
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "path of the checkpoint or savepoint to start from, whatever else is on record")
	return cmd
}

func (a *app) deleteCmd() *cobra.Command {
	var policy string
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "delete job NAME", Short: "Delete a job; may be asked again with another policy while it is Deleting", Args: args(1, 2),
		Example: "  waterwheel delete job clicks --policy savepoint --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := object(args)
			if err != nil {
				return err
			}
			policies := []string{"", string(flink.DeleteSavepoint), string(flink.DeleteCancel), string(flink.DeleteOrphan)}
			switch {
			case kind != "jobs":
				return usagef("clusters are not deleted: see waterwheel cluster remove --help")
			case name == "":
				return usagef("use it as: waterwheel delete job NAME")
			case !slices.Contains(policies, policy):
				return usagef("--policy %s: want savepoint, cancel or orphan%s", policy, meant(policy, policies))
			}
			return a.run(func(cmd *cobra.Command, h *hub, _ []string) error {
				req := adminv1.DeleteJobRequest_builder{Tenant: h.tenant, Name: name, Policy: policy}.Build()
				if _, err := h.jobs.DeleteJob(cmd.Context(), req); err != nil {
					return err
				}
				say(cmd, "job/%s deleting", name)
				if !wait {
					return nil
				}
				if err := h.await(cmd.Context(), name, deleted(), timeout); err != nil {
					return err
				}
				say(cmd, "job/%s deleted", name)
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&policy, "policy", "", "savepoint (stop with one; the default), cancel (stop without; the default of a stateless job), or orphan (forget it, let it run)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until nothing of it is left")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}
