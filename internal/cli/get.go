package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/waterwheel-io/waterwheel/internal/manifest"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// pollEvery is how often a watched or awaited object is looked at.
const pollEvery = time.Second

// page is how many jobs are asked for at once.
const page = 500

// output is a value of -o.
type output string

const (
	asTable output = ""
	asWide  output = "wide"
	asJSON  output = "json"
	asYAML  output = "yaml"
)

func (o *output) check() error {
	if all := []output{asTable, asWide, asJSON, asYAML}; !slices.Contains(all, *o) {
		return usagef("-o %s: want wide, json or yaml", *o)
	}
	return nil
}

// one writes a single message for machines.
func (o *output) one(w io.Writer, m proto.Message) error {
	text := manifest.JSON(m)
	if *o == asYAML {
		text = manifest.YAML(m)
	}
	_, err := w.Write(text)
	return err
}

// getter is one verb get under way.
type getter struct {
	*app
	hub   *hub
	out   io.Writer
	form  output
	kind  string // jobs or clusters
	name  string // empty: all
	inner string // cluster whose jobs are wanted

	// Of a watch only:
	errs io.Writer
	last []proto.Message // what was there at the last look
	away bool            // the hub does not answer since, and that was said
}

func (a *app) getCmd() *cobra.Command {
	g := getter{app: a}
	var watch bool
	cmd := &cobra.Command{
		Use: "get jobs|clusters [NAME]", Short: "List jobs or clusters, or show one", Args: args(1, 2),
		Example: "  waterwheel get jobs -o wide\n  waterwheel get job clicks -o yaml\n  waterwheel get clusters -w",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.form.check(); err != nil {
				return err
			}
			var err error
			if g.kind, g.name, err = object(args); err != nil {
				return err
			}
			return a.run(func(cmd *cobra.Command, h *hub, _ []string) error {
				g.hub, g.out, g.errs = h, cmd.OutOrStdout(), cmd.ErrOrStderr()
				if watch {
					return g.watch(cmd.Context())
				}
				return g.once(cmd.Context())
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP((*string)(&g.form), "output", "o", "", "wide, json or yaml")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on and write what changes, until interrupted")
	cmd.Flags().StringVar(&g.inner, "cluster", "", "only jobs of this cluster")
	return cmd
}

// object reads "jobs", "job NAME", "job/NAME" and the same of clusters.
func object(args []string) (kind, name string, err error) {
	kind, name, slash := strings.Cut(args[0], "/")
	kind = strings.TrimSuffix(kind, "s")
	if kind != "job" && kind != "cluster" {
		return "", "", usagef("%q: want jobs or clusters, or job/%[1]s for the job of that name%s", args[0], meant(args[0], []string{"jobs", "clusters", "job", "cluster"}))
	}
	switch {
	case slash && (name == "" || len(args) > 1), len(args) > 1 && args[1] == "":
		return "", "", usagef("%q: want %s/NAME or %[2]s NAME", strings.Join(args, " "), kind)
	case len(args) > 1:
		name = args[1]
	}
	return kind + "s", name, nil
}

// once writes what there is now.
func (g *getter) once(ctx context.Context) error {
	items, err := g.items(ctx)
	if err != nil {
		return err
	}
	if g.form == asJSON || g.form == asYAML {
		return g.machine(items)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(g.out, g.none())
		return err
	}
	return g.table(items).write(g.out, g.colour(g.out))
}

func (g *getter) none() string {
	if g.kind == "clusters" {
		return "No clusters: make one known with waterwheel cluster invite NAME"
	}
	return fmt.Sprintf("No jobs in tenant %s: declare one with waterwheel apply -f FILE", orDefault(g.hub.tenant))
}

// machine writes messages in the form of the API: a named one alone, else a list.
func (g *getter) machine(items []proto.Message) error {
	if g.name != "" {
		return g.form.one(g.out, items[0])
	}
	text := manifest.ListJSON(items)
	if g.form == asYAML {
		text = manifest.ListYAML(items)
	}
	_, err := g.out.Write(text)
	return err
}

func (g *getter) items(ctx context.Context) ([]proto.Message, error) {
	switch {
	case g.kind == "jobs" && g.name != "":
		j, err := g.hub.job(ctx, g.name)
		return []proto.Message{j}, err
	case g.kind == "jobs":
		jobs, err := g.hub.allJobs(ctx, g.inner)
		return messages(jobs), err
	case g.name != "":
		c, err := g.hub.clusters.GetCluster(ctx, adminv1.GetClusterRequest_builder{Name: g.name}.Build())
		return []proto.Message{c.GetCluster()}, err
	}
	resp, err := g.hub.clusters.ListClusters(ctx, new(adminv1.ListClustersRequest))
	return messages(resp.GetItems()), err
}

func messages[M proto.Message](in []M) []proto.Message {
	out := make([]proto.Message, len(in))
	for i, m := range in {
		out[i] = m
	}
	return out
}

func (g *getter) table(items []proto.Message) *table {
	if g.kind == "clusters" {
		return g.clusterTable(of[*adminv1.Cluster](items), g.form == asWide)
	}
	return g.jobTable(of[*flinkv1.Job](items), g.form == asWide)
}

func of[M proto.Message](in []proto.Message) []M {
	out := make([]M, 0, len(in))
	for _, m := range in {
		if typed, ok := m.(M); ok {
			out = append(out, typed)
		}
	}
	return out
}

// watch writes the table, and then each row that is new or changed by more
// than its ages, until ctx ends. A thing that is no more is said to be gone.
func (g *getter) watch(ctx context.Context) error {
	items, err := g.items(ctx)
	if err != nil {
		return err
	}
	g.last = items
	if g.form == asJSON || g.form == asYAML {
		return g.watchMachine(ctx, items)
	}
	t := g.table(items)
	if err := t.write(g.out, g.colour(g.out)); err != nil {
		return err
	}
	seen := keys(t.rows)
	return poll(ctx, func() (bool, error) {
		items, err := g.again(ctx)
		if err != nil {
			return false, err
		}
		rows := g.table(items).rows
		now := keys(rows)
		var b bytes.Buffer
		for _, row := range rows {
			if name := row[0].text; seen[name] != now[name] {
				t.add(row...)
				t.line(&b, row, g.colour(g.out))
			}
		}
		for name := range seen {
			if _, ok := now[name]; !ok {
				gone := slices.Repeat([]cell{plain("-")}, len(t.header))
				gone[0], gone[1] = plain(name), plain("Gone")
				t.line(&b, gone, false)
			}
		}
		seen = now
		_, err = g.out.Write(b.Bytes())
		return false, err
	})
}

func (g *getter) watchMachine(ctx context.Context, items []proto.Message) error {
	var last []proto.Message
	write := func() error {
		if slices.EqualFunc(last, items, proto.Equal) {
			return nil
		}
		last = items
		if g.form == asYAML {
			if _, err := io.WriteString(g.out, "---\n"); err != nil {
				return err
			}
		}
		if len(items) == 0 && g.name != "" {
			return nil
		}
		return g.machine(items)
	}
	if err := write(); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		var err error
		if items, err = g.again(ctx); err != nil {
			return false, err
		}
		return false, write()
	})
}

// again looks once more. What was there and is not found any more is no error,
// nor is a hub that is away for a while: nothing is known to have changed.
func (g *getter) again(ctx context.Context) ([]proto.Message, error) {
	items, err := g.items(ctx)
	switch {
	case g.name != "" && notFound(err):
		items = nil
	case err != nil && ctx.Err() == nil && passing(err):
		if !g.away {
			g.away = true
			fmt.Fprintln(g.errs, "the hub does not answer: what is above may be old, watching on")
		}
		return g.last, nil
	case err != nil:
		return nil, err
	}
	g.last, g.away = items, false
	return items, nil
}

// keys are the rows by their first cell, without what ages.
func keys(rows [][]cell) map[string]string {
	out := make(map[string]string, len(rows))
	for _, row := range rows {
		var b strings.Builder
		for _, c := range row {
			if !c.ages {
				b.WriteString(c.text + "\x00")
			}
		}
		out[row[0].text] = b.String()
	}
	return out
}

// poll looks every pollEvery until look is done, fails, or ctx ends.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if done, err := look(); done || err != nil {
			return err
		}
	}
}

func notFound(err error) bool {
	call, ok := errors.AsType[*connect.Error](err)
	return ok && call.Code() == connect.CodeNotFound
}

func (h *hub) job(ctx context.Context, name string) (*flinkv1.Job, error) {
	resp, err := h.jobs.GetJob(ctx, adminv1.GetJobRequest_builder{Tenant: h.tenant, Name: name}.Build())
	return resp.GetJob(), err
}

// allJobs are all jobs of the tenant, page by page.
func (h *hub) allJobs(ctx context.Context, cluster string) ([]*flinkv1.Job, error) {
	var jobs []*flinkv1.Job
	for token := ""; ; {
		resp, err := h.jobs.ListJobs(ctx, adminv1.ListJobsRequest_builder{
			Tenant: h.tenant, Cluster: cluster, PageSize: page, PageToken: token,
		}.Build())
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, resp.GetItems()...)
		if token = resp.GetNextPageToken(); token == "" {
			return jobs, nil
		}
	}
}
