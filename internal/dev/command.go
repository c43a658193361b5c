package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/dev/relay"
	"github.com/waterwheel-io/waterwheel/internal/telemetry"
)

// dev is one world, seen from a command.
type dev struct {
	at       layout
	bin      binaries
	out      io.Writer
	examples []Example
}

// DefaultDir is where a world lies when nobody says otherwise.
func DefaultDir(getenv func(string) string) (string, error) {
	base := getenv("XDG_DATA_HOME")
	if base == "" {
		home := getenv("HOME")
		if home == "" {
			return "", errors.New("HOME is not set: name the world's directory with --dir")
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "waterwheel", "dev"), nil
}

// Command is `waterwheel dev`. Its up puts the examples into the world's usrlib.
func Command(examples ...Example) *cobra.Command {
	var dir string
	open := func(c *cobra.Command) (dev, error) {
		d, err := openWorld(dir, c.OutOrStdout())
		d.examples = examples
		return d, err
	}
	root := &cobra.Command{
		Use:   "dev",
		Short: "A hub, agents and real Flink on this machine",
		Long:  "dev runs a hub and agents as processes of this machine, joined as in real life, with real Flink below them.",
	}
	root.PersistentFlags().StringVar(&dir, "dir", "", "directory of the world (default ~/.local/share/waterwheel/dev)")
	root.AddCommand(upCommand(open), downCommand(open), statusCommand(open), cutCommand(open), healCommand(open), superviseCommand(open))
	return root
}

// openWorld finds the programs and the directory.
func openWorld(dir string, out io.Writer) (dev, error) {
	bin, err := findBinaries()
	if err != nil {
		return dev{}, err
	}
	if dir == "" {
		if dir, err = DefaultDir(os.Getenv); err != nil {
			return dev{}, err
		}
	}
	if dir, err = resolve(dir); err != nil {
		return dev{}, err
	}
	if strings.ContainsAny(dir, "|\n") {
		return dev{}, fmt.Errorf("%q: the directory of a world must not contain | or a line break", dir)
	}
	return dev{at: layout(dir), bin: bin, out: out}, nil
}

// resolve is the one name of a directory, whether or not it exists yet: it is
// part of what its processes are found by.
func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	rest := ""
	for p := abs; ; p = filepath.Dir(p) {
		if name, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(name, rest), nil
		}
		if p == filepath.Dir(p) {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

type opener func(*cobra.Command) (dev, error)

func upCommand(open opener) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use: "up", Short: "Bring up what is missing of the world", Args: cobra.NoArgs,
		Example: "  waterwheel dev up\n  waterwheel dev up --clusters 3 --flink 2.3 --flink 1.20",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.clusters < 0 || o.clusters > maxClusters {
				return fmt.Errorf("--clusters %d: name a number of 1 to %d", o.clusters, maxClusters)
			}
			if _, err := flink.ParseMemory(o.memory); o.memory != "" && err != nil {
				return fmt.Errorf("--memory %q: name an amount such as 8Gi", o.memory)
			}
			d, err := open(c)
			if err != nil {
				return err
			}
			return d.up(c.Context(), o)
		},
	}
	c.Flags().IntVar(&o.clusters, "clusters", 0, "how many clusters there are at least, each with its agent (default as they are, at first 2)")
	c.Flags().StringSliceVar(&o.flink, "flink", nil, "Flink `version` to fetch, may be given several times (default "+defaultFlink+" and what is cached)")
	c.Flags().StringVar(&o.memory, "memory", "", "declared memory that the jobs of one cluster may take together (default as it was, at first 8Gi)")
	c.Flags().StringSliceVar(&o.noRestart, "no-restart", nil, "`name` of a process, hub or a cluster, that stays down once it ends")
	c.Flags().BoolVar(&o.install, "install", false, "install a JDK and pip where there are none (needs root and apt-get)")
	return c
}

func downCommand(open opener) *cobra.Command {
	var purge bool
	c := &cobra.Command{
		Use: "down", Short: "End the world; its jobs come back with their state at the next up", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := open(c)
			if err != nil {
				return err
			}
			return d.down(c.Context(), purge)
		},
	}
	c.Flags().BoolVar(&purge, "purge", false, "remove its directory too, with the state of all jobs")
	return c
}

func statusCommand(open opener) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "status", Short: "Show processes, relays, and each agent's own view", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "" && format != "json" {
				return fmt.Errorf("-o %s: only json is known", format)
			}
			d, err := open(c)
			if err != nil {
				return err
			}
			s, err := d.status(c.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				enc := json.NewEncoder(d.out)
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			}
			return s.print(d.out, time.Now())
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json, or a table")
	return c
}

func cutCommand(open opener) *cobra.Command {
	var reset bool
	c := &cobra.Command{
		Use: "cut CLUSTER", Short: "Cut an agent off the hub: its connections stall", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state := relay.Cut
			if reset {
				state = relay.Reset
			}
			return setRelay(c, open, args[0], state)
		},
	}
	c.Flags().BoolVar(&reset, "reset", false, "close connections in place of letting them stall")
	return c
}

func healCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "heal CLUSTER", Short: "Let bytes flow again", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return setRelay(c, open, args[0], relay.Open) },
	}
}

func setRelay(c *cobra.Command, open opener, name string, state relay.State) error {
	d, err := open(c)
	if err != nil {
		return err
	}
	err = d.at.control(c.Context(), http.MethodPost, "/relay", relayRequest{Cluster: name, State: state}, nil)
	if errors.Is(err, errNoSupervisor) {
		return fmt.Errorf("%w: `waterwheel dev up` starts one", errNoSupervisor)
	}
	if err == nil {
		fmt.Fprintf(d.out, "relay of %s is %s\n", name, state)
	}
	return err
}

func superviseCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "supervise", Short: "Keep hub and agents up (started by up)", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := open(c)
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(os.Stderr, "text", "info")
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.WithoutCancel(c.Context()), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return supervise(ctx, d.at, d.bin, log)
		},
	}
}
