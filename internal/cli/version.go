package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this command", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			say(cmd, "waterwheel %s %s %s/%s", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
