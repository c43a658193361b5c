package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// goal is what a job is waited for. A status that is not live meets none: what
// was so an hour ago is not known to be so now.
type goal struct {
	text string
	gone bool                         // met when the job is no more
	met  func(j *flinkv1.Job) bool    // nil: never while it is there
	lost func(j *flinkv1.Job) *string // why it will not be met any more; nil: it may yet
}

var jobStates = []string{
	string(flink.Pending), string(flink.Starting), string(flink.Running), string(flink.Suspending), string(flink.Suspended),
	string(flink.Upgrading), string(flink.Failing), string(flink.Failed), string(flink.Finished), string(flink.Deleting), string(flink.Unknown),
}

func deleted() goal { return goal{text: "deleted", gone: true} }

// parseGoal reads condition=Ready, condition=Ready=False, state=Running or deleted.
func parseGoal(s string) (goal, error) {
	what, value, _ := strings.Cut(s, "=")
	switch {
	case s == "deleted":
		return deleted(), nil
	case what == "state":
		if !slices.Contains(jobStates, value) {
			return goal{}, usagef("--for %s: the states are %s%s", s, strings.Join(jobStates, " "), meant(value, jobStates))
		}
		return inState(flink.JobState(value)), nil
	case what == "condition":
		return inCondition(s, value)
	}
	return goal{}, usagef("--for %q: want condition=Ready, state=Running or deleted", s)
}

func inState(state flink.JobState) goal {
	return goal{text: "state=" + string(state), met: func(j *flinkv1.Job) bool {
		return current(j) && j.GetStatus().GetState() == string(state)
	}}
}

func inCondition(s, value string) (goal, error) {
	types := []string{flink.ConditionReady, flink.ConditionReconciling, flink.ConditionStalled, flink.ConditionHeld}
	statuses := []string{flink.True, flink.False, flink.UnknownStatus}
	typ, status, given := strings.Cut(value, "=")
	if !given {
		status = flink.True
	}
	if !slices.Contains(types, typ) || !slices.Contains(statuses, status) {
		return goal{}, usagef("--for %s: conditions are %s, each True, False or Unknown%s", s, strings.Join(types, ", "), meant(typ, types))
	}
	return goal{text: s, met: func(j *flinkv1.Job) bool {
		if typ == flink.ConditionReady && status == flink.True {
			return isReady(j)
		}
		if typ == flink.ConditionHeld { // of a job that was never held, nobody says that it is not
			return current(j) && (held(j.GetStatus()) != nil) == (status == flink.True)
		}
		return current(j) && condition(j.GetStatus(), typ).GetStatus() == status
	}}, nil
}

// current reports whether a status is live and knows the newest spec.
func current(j *flinkv1.Job) bool {
	s := j.GetStatus()
	return s.GetFreshness() == freshnessLive && s.GetRecordedGeneration() >= j.GetMetadata().GetGeneration()
}

// settled is what apply waits for: the spec is carried out, as far as it goes by itself.
func settled() goal {
	return goal{
		text: "its spec to be carried out",
		met: func(j *flinkv1.Job) bool {
			state := flink.JobState(j.GetStatus().GetState())
			if j.GetSpec().GetState() == flink.StateSuspended {
				return current(j) && (state == flink.Suspended || state == flink.Finished)
			}
			return isReady(j) || current(j) && state == flink.Finished
		},
		lost: func(j *flinkv1.Job) *string {
			if current(j) && j.GetStatus().GetState() == string(flink.Failed) {
				return new(fmt.Sprintf("job/%s Failed: %s", j.GetMetadata().GetName(), sentence(j.GetStatus())))
			}
			return nil
		},
	}
}

func (a *app) waitCmd() *cobra.Command {
	var want string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait job/NAME --for GOAL", Short: "Wait until a job is in a condition, in a state, or deleted", Args: args(1, 2),
		Example: "  waterwheel wait job/clicks --for condition=Ready --timeout 60s\n  waterwheel wait job/clicks --for state=Suspended",
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := object(args)
			if err != nil {
				return err
			}
			if kind != "jobs" || name == "" {
				return usagef("use it as: waterwheel wait job/NAME --for condition=Ready")
			}
			g, err := parseGoal(want)
			if err != nil {
				return err
			}
			return a.run(func(cmd *cobra.Command, h *hub, _ []string) error {
				if err := h.await(cmd.Context(), name, g, timeout); err != nil {
					return err
				}
				say(cmd, "job/%s %s", name, g.text)
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&want, "for", "condition=Ready", "condition=Ready|Reconciling|Stalled|Held, state=STATE, or deleted")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return cmd
}

// await looks at a job until a goal is met. A hub that was there and does not
// answer any more is waited for too.
func (h *hub) await(ctx context.Context, name string, g goal, timeout time.Duration) error {
	if timeout <= 0 {
		return usagef("--timeout %s: must be more than nothing", timeout)
	}
	var last *flinkv1.Job
	var failure error
	look := func(ctx context.Context) (bool, error) {
		j, err := h.job(ctx, name)
		switch {
		case notFound(err) && g.gone:
			return true, nil
		case err != nil && ctx.Err() == nil && last != nil && passing(err):
			failure = err
			return false, nil
		case err != nil:
			return false, err
		}
		last, failure = j, nil
		if g.met != nil && g.met(j) {
			return true, nil
		}
		if g.lost != nil {
			if why := g.lost(j); why != nil {
				return false, exitf(ExitError, "%s", *why)
			}
		}
		return false, nil
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done, err := look(limited)
	if !done && err == nil {
		err = poll(limited, func() (bool, error) { return look(limited) })
	}
	switch {
	case err == nil, ctx.Err() != nil, limited.Err() == nil:
		return err
	case failure != nil:
		return h.explain(ctx, failure)
	case last == nil:
		return h.explain(ctx, err)
	}
	return &exitError{code: ExitTimeout, err: context.DeadlineExceeded, text: fmt.Sprintf("timed out after %s waiting for job/%s %s: it is %s: %s",
		timeout, name, g.text, stateCell(last.GetStatus()).text, orElse(sentence(last.GetStatus()), "nothing is known of it yet"))}
}

// passing reports whether a call may succeed a little later.
func passing(err error) bool {
	call, ok := errors.AsType[*connect.Error](err)
	return ok && (call.Code() == connect.CodeUnavailable || call.Code() == connect.CodeDeadlineExceeded)
}
