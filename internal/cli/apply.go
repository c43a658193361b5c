package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/internal/manifest"
	"github.com/waterwheel-io/waterwheel/internal/wire"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

type document = manifest.Document[*flinkv1.Job]

func jobForm() manifest.Form[*flinkv1.Job] {
	return manifest.Form[*flinkv1.Job]{
		APIVersion: wire.APIVersion, Kind: wire.KindJob, Ignored: []string{"status"},
		New: func() *flinkv1.Job { return new(flinkv1.Job) },
	}
}

func (a *app) applyCmd() *cobra.Command {
	var files []string
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Make jobs as their manifests say; an identical one changes nothing", Args: args(0, 0),
		Example: "  waterwheel apply -f job.yaml --wait\n  waterwheel get job clicks -o yaml | waterwheel apply -f -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(files) == 0 {
				return usagef("say what to apply: -f FILE, -f DIRECTORY or -f -")
			}
			docs, err := jobForm().Load(files, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return a.run(func(cmd *cobra.Command, h *hub, _ []string) error {
				if err := h.once(docs); err != nil {
					return err
				}
				return h.applyAll(cmd, docs, wait, timeout)
			})(cmd, args)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file, directory, or - for stdin; may be given again")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until each job is Ready (Suspended, Finished)")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for each job")
	return cmd
}

// once fills in tenants and refuses a job that is declared twice.
func (h *hub) once(docs []document) error {
	seen := map[string]document{}
	for _, d := range docs {
		m := d.Value.GetMetadata()
		if m == nil {
			m = new(flinkv1.Metadata)
			d.Value.SetMetadata(m)
		}
		if m.GetTenant() == "" {
			m.SetTenant(orDefault(h.tenant))
		}
		key := m.GetTenant() + "/" + m.GetName()
		if first, ok := seen[key]; ok && m.GetName() != "" {
			return usagef("job %s is declared twice: %s:%d and %s:%d", key, first.File, first.Line, d.File, d.Line)
		}
		seen[key] = d
	}
	return nil
}

// applyAll applies one after the other. A refused one does not keep back the
// others; a hub that does not answer does. All refusals are told.
func (h *hub) applyAll(cmd *cobra.Command, docs []document, wait bool, timeout time.Duration) error {
	var failed refusals
	var applied []document
	for _, d := range docs {
		result, err := h.apply(cmd.Context(), d)
		if err != nil {
			failed.add(h.explain(cmd.Context(), err))
			if failed.fatal() {
				break
			}
			continue
		}
		say(cmd, "job/%s %s", d.Value.GetMetadata().GetName(), result)
		applied = append(applied, d)
	}
	for _, d := range applied {
		if !wait || failed.fatal() {
			break
		}
		m := d.Value.GetMetadata()
		at := *h
		at.tenant = m.GetTenant()
		if err := at.await(cmd.Context(), m.GetName(), settled(), timeout); err != nil {
			failed.add(h.explain(cmd.Context(), err))
			continue
		}
		say(cmd, "job/%s %s", m.GetName(), "is as declared")
	}
	return failed.err()
}

// apply sends one manifest. Without a generation in it, the one that the job
// has now is the expectation, so that a change made meanwhile is noticed.
func (h *hub) apply(ctx context.Context, d document) (string, error) {
	m := d.Value.GetMetadata()
	if !m.HasGeneration() && m.GetName() != "" {
		resp, err := h.jobs.GetJob(ctx, adminv1.GetJobRequest_builder{Tenant: m.GetTenant(), Name: m.GetName()}.Build())
		switch {
		case err == nil:
			m.SetGeneration(resp.GetJob().GetMetadata().GetGeneration())
		case notFound(err):
			m.SetGeneration(0)
		default:
			return "", err
		}
	}
	resp, err := h.jobs.ApplyJob(ctx, adminv1.ApplyJobRequest_builder{Job: d.Value}.Build())
	if err == nil {
		return resp.GetResult(), nil
	}
	call, ok := errors.AsType[*connect.Error](err)
	if !ok || !call.IsRemote() {
		return "", err
	}
	if fields := badFields(call); len(fields) > 0 {
		e := &exitError{code: ExitUsage, err: err}
		for _, f := range fields {
			e.bare = append(e.bare, d.Where(f.GetField())+": "+faultLine(f))
		}
		return "", e
	}
	if e, ok := errors.AsType[*exitError](h.explain(ctx, err)); ok {
		return "", &exitError{code: e.code, err: err, text: fmt.Sprintf("%s: job/%s: %s", d.File, m.GetName(), e.text)}
	}
	return "", err
}

// refusals gathers errors; the first one decides the exit code.
type refusals struct {
	first *exitError
	lines []string
	other error // not one of a single job
}

func (r *refusals) add(err error) {
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		r.other = err
		return
	}
	if r.first == nil {
		r.first = e
	}
	r.lines = append(r.lines, e.bare...)
	if e.text != "" {
		r.lines = append(r.lines, "error: "+oneLine(e.text))
	}
}

// fatal reports whether the next call would only fail alike.
func (r *refusals) fatal() bool {
	return r.other != nil || r.first != nil && r.first.code == ExitUnreachable
}

func (r *refusals) err() error {
	switch {
	case r.other != nil:
		return r.other
	case r.first == nil:
		return nil
	}
	return &exitError{code: r.first.code, bare: r.lines, err: r.first}
}
