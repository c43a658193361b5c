package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// app is what the verbs share.
type app struct {
	version string // of this build
	now     func() time.Time
	dial    func(contextName string) (*hub, error)
	colour  func(io.Writer) bool

	context string // flag
	tenant  string // flag
}

// New is the waterwheel command, with the verbs of other rooms added.
func New(version string, extra ...*cobra.Command) *cobra.Command {
	a := &app{version: version, now: time.Now, colour: terminal}
	a.dial = func(name string) (*hub, error) {
		cfg, err := loadConfig()
		if err != nil {
			return nil, err
		}
		c, err := cfg.Find(name)
		if err != nil {
			return nil, err
		}
		return dial(cfg, c, a.now())
	}
	return newRoot(a, extra...)
}

// Main runs the command with arguments and returns the exit code of the process.
func Main(ctx context.Context, version string, args []string, extra ...*cobra.Command) int {
	return execute(ctx, New(version, extra...), args)
}

func execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	return report(root.ErrOrStderr(), root.ExecuteContext(ctx))
}

func newRoot(a *app, extra ...*cobra.Command) *cobra.Command {
	root := group("waterwheel", "Runs Apache Flink jobs in clusters that belong to somebody else")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			return unknownCommand(cmd, words[0]) // its flags are unknown because it is
		}
		return usagef("%s (see %s --help)", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&a.context, "context", "", "context to use instead of the current one")
	root.PersistentFlags().StringVar(&a.tenant, "tenant", "", "tenant to use instead of the context's")
	root.AddCommand(a.applyCmd(), a.getCmd(), a.describeCmd(), a.whyCmd(), a.waitCmd(), a.restartCmd(), a.deleteCmd(),
		a.clusterCmd(), a.adminCmd(), configCmd(a), a.versionCmd())
	for _, c := range extra {
		adopt(c)
	}
	root.AddCommand(extra...)
	return root
}

// adopt has a command of another room, and those below it, treat a wrong command line as the ones here do.
func adopt(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) != nil {
				return usagef("use it as: %s", cmd.UseLine())
			}
			return nil
		}
	}
	if c.HasSubCommands() {
		c.Args, c.RunE = cobra.ArbitraryArgs, helpOrUnknown
	}
	for _, sub := range c.Commands() {
		adopt(sub)
	}
}

// group is a command that only holds others: alone it helps, a wrong word is named.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: helpOrUnknown}
	c.AddCommand(sub...)
	return c
}

func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, s := range cmd.Commands() {
		names = append(names, s.Name())
	}
	return usagef("%s has no command %q%s: see %[1]s --help", cmd.CommandPath(), word, meant(word, names))
}

// args takes between low and high arguments and says how the command is used when there are others.
func args(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usagef("use it as: %s", cmd.UseLine())
		}
		return nil
	}
}

// hub is the hub of the chosen context, with the chosen tenant.
func (a *app) hub() (*hub, error) {
	h, err := a.dial(a.context)
	if err != nil {
		return nil, err
	}
	if a.tenant != "" {
		h.tenant = a.tenant
	}
	return h, nil
}

// run makes a verb of a func that calls the hub.
func (a *app) run(do func(cmd *cobra.Command, h *hub, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		h, err := a.hub()
		if err != nil {
			return err
		}
		return h.explain(cmd.Context(), do(cmd, h, args))
	}
}

// jobName reads NAME or job/NAME.
func jobName(arg string) (string, error) { return named("job", arg) }

func named(kind, arg string) (string, error) {
	before, name, slash := strings.Cut(arg, "/")
	if !slash {
		before, name = kind, arg
	}
	if before != kind && before != kind+"s" || name == "" {
		return "", usagef("%q: want the name of a %s, such as %[2]s/NAME", arg, kind)
	}
	return name, nil
}

func say(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
}

// terminal reports whether colour may be written.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
