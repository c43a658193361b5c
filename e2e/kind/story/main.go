// Command story drives a hub and two customers' clusters, with real Flink on object storage, through the life of a job:
// installed, changed, cut off, killed in parts, deleted by hand, held, upgraded, uninstalled. One line a chapter with what
// was seen; exit 1 when a limit is passed. Figures come from Flink's REST, the API server's audit log, the storage's files
// and the ledger checker, never from the product's own word alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

func main() {
	var o options
	flag.StringVar(&o.version, "version", "2.3", "Flink version")
	flag.BoolVar(&o.short, "short", false, "the chapters that a change breaks first, one customer, one edit of each kind, a cut of 30 s")
	flag.StringVar(&o.artifacts, "artifacts", "artifacts/story-kind", "where logs are kept")
	only := flag.String("only", "", "chapters to tell after the first, separated by commas; empty: all")
	flag.StringVar(&o.name, "name", "story", "of the world: two stories of different names do not meet")
	flag.BoolVar(&o.keep, "keep", false, "leave everything as it is at the end")
	flag.DurationVar(&o.deadline, "deadline", 70*time.Minute, "give up after")
	flag.Parse()
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.deadline, fmt.Errorf("the story took longer than %s", o.deadline))
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "story-kind:", err)
		os.Exit(1)
	}
}

type options struct {
	version, artifacts, name string
	only                     []string
	short, keep              bool
	deadline                 time.Duration
}

// customers is how many clusters there are besides the vendor's.
func (o options) customers() int {
	if o.short {
		return 1
	}
	return 2
}

// edits is how many of each kind are measured.
func (o options) edits() int {
	if o.short {
		return 1
	}
	return 3
}

// certificateLife is how long agents' certificates live until the chapter about them is told; empty: as long as the hub's
// chart says.
func (o options) certificateLife() string {
	if o.short || len(o.only) > 0 && !slices.Contains(o.only, "certificates") {
		return ""
	}
	return "2m"
}

// cut is how long the hub is away.
func (o options) cut() time.Duration {
	if o.short {
		return 30 * time.Second
	}
	return 2 * time.Minute
}

// teller is one telling of the story.
type teller struct {
	o       options
	f       *world.Fleet
	w       *stage.World
	c       *cluster.Cluster // c1: where clicks runs
	witness *world.Witness
	out     string    // where clicks writes
	job     stage.Job // clicks, as last seen Ready
}

// chapter is one part of the story.
type chapter struct {
	name  string
	short bool // told in the short story too
	tell  func(context.Context) error
}

func (t *teller) chapters() []chapter {
	return []chapter{
		{"running", true, t.running},
		{"certificates", false, t.rotated},
		{"rights", true, t.rights},
		{"changed", true, t.changed},
		{"cut", true, t.cut},
		{"objects-deleted", true, t.objectsDeleted},
		{"record-deleted", true, t.recordDeleted},
		{"killed-between", false, t.killedBetween},
		{"held", true, t.held},
		{"agent-gone", false, t.agentGone},
		{"api-away", false, t.apiAway},
		{"node", false, t.node},
		{"bystander", false, t.bystander}, // before the storage, which all customers share here, is taken away
		{"why", true, t.named},
		{"hub-upgraded", true, t.hubUpgraded},
		{"uninstall", true, t.uninstalled},
	}
}

func run(ctx context.Context, o options) (err error) {
	t, done, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done(err != nil)) }()
	for i, c := range t.chapters() {
		if i > 0 && (o.short && !c.short || len(o.only) > 0 && !slices.Contains(o.only, c.name)) {
			continue
		}
		began := time.Now()
		t.f.Say("chapter " + c.name)
		if err := c.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w (logs: %s)", c.name, err, o.artifacts)
		}
		t.f.Say(fmt.Sprintf("chapter %s took %.0f s", c.name, time.Since(began).Seconds()))
	}
	return nil
}

// begin sets up the fleet. done keeps what tells why the story failed, and tears everything down.
func begin(ctx context.Context, o options) (*teller, func(failed bool) error, error) {
	if err := os.RemoveAll(o.artifacts); err != nil {
		return nil, nil, err
	}
	began := time.Now()
	base, err := world.Open(ctx, world.Options{
		Name: o.name, Versions: []string{o.version}, Product: true, Artifacts: o.artifacts, Progress: os.Stderr,
		Anew: !o.keep && len(o.only) == 0, // a world that was kept is for more chapters of it
	})
	if err != nil {
		return nil, nil, err
	}
	f, err := base.Fleet(ctx, world.FleetOptions{Customers: o.customers(), AuditPolicy: cluster.AuditMetadata, CertificateLife: o.certificateLife()})
	done := func(failed bool) error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		var errs []error
		if failed {
			for _, c := range append([]*cluster.Cluster{f.Vendor}, f.Customers...) {
				if c != nil {
					errs = append(errs, c.DumpArtifacts(end, filepath.Join(o.artifacts, c.Name)))
				}
			}
		}
		if !o.keep {
			errs = append(errs, f.Close(end))
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return nil, nil, errors.Join(err, done(true))
	}
	log, err := os.Create(filepath.Join(o.artifacts, "story.log"))
	if err != nil {
		return nil, nil, errors.Join(err, done(true))
	}
	c := f.Customers[0]
	t := &teller{
		o: o, f: f, c: c, witness: world.NewWitness(c), out: fmt.Sprintf("%s/ledger-%d", base.Root(), time.Now().Unix()),
		w: &stage.World{Dir: filepath.Dir(f.Config()), Bin: f.Bin(), Log: io.Writer(log)},
	}
	stage.Line(os.Stdout, "fleet", "clusters", 1+len(f.Customers), "kubernetes", "1.36", "up_s", time.Since(began))
	return t, done, nil
}
