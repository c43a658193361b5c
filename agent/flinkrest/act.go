package flinkrest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// jarID names the program's jar: its file name in the JobManager's upload directory.
const jarID = "job.jar"

type programBody struct {
	EntryClass  string   `json:"entryClass,omitempty"`
	Args        []string `json:"programArgsList,omitempty"`
	Parallelism int32    `json:"parallelism,omitempty"`

	JobID         string `json:"jobId,omitempty"`
	SavepointPath string `json:"savepointPath,omitempty"`
}

func bodyOf(p flink.Program) programBody {
	return programBody{EntryClass: p.EntryClass, Args: p.Args, Parallelism: p.Parallelism}
}

// Plan runs main() up to its first execute() and starts nothing. A definite no
// is a *flink.Refusal of kind RefusedProgram or RefusedJar.
func (c *Client) Plan(ctx context.Context, endpoint string, p flink.Program) error {
	err := c.call(ctx, c.program, http.MethodPost, endpoint, "/jars/"+jarID+"/plan", bodyOf(p), nil)
	if r := refusal(err); r != nil {
		return r
	}
	return wrap("check the program", err)
}

// Submit starts the job under the submission's id. nil means no more than "look
// for the id": also an id that the JobManager knows already, and a bad request
// that may have started the job before it failed. A refusal too may come with the job running.
func (c *Client) Submit(ctx context.Context, endpoint string, s flink.Submission) error {
	body := bodyOf(s.Program)
	body.JobID, body.SavepointPath = s.JobID, s.SnapshotPath
	var answer struct {
		JobID string `json:"jobid"`
	}
	err := c.call(ctx, c.program, http.MethodPost, endpoint, "/jars/"+jarID+"/run", body, &answer)
	switch {
	case err == nil && answer.JobID != s.JobID:
		return fmt.Errorf("hand in the job: the JobManager answered with job %q, asked for %q", failure.OneLine(answer.JobID), s.JobID)
	case err == nil || knowsJob(err):
		return nil
	}
	if r := refusal(err); r != nil {
		return r
	}
	if status(err) == http.StatusBadRequest {
		c.log.DebugContext(ctx, "job hand-in answered as a bad request", "flink_job", s.JobID, "err", err)
		return nil
	}
	return wrap("hand in the job", err)
}

// Stop triggers a stop with a savepoint below directory. The same trigger id
// gives the same savepoint, or the same failure, for ever.
func (c *Client) Stop(ctx context.Context, endpoint, jobID, triggerID, directory string) error {
	body := map[string]any{"targetDirectory": directory, "drain": false, "triggerId": triggerID}
	var answer struct {
		Request string `json:"request-id"`
	}
	err := c.call(ctx, c.timeout, http.MethodPost, endpoint, jobPath(jobID, "/stop"), body, &answer)
	if err == nil && !strings.EqualFold(answer.Request, triggerID) {
		err = fmt.Errorf("the JobManager answered with trigger %q, asked for %q", failure.OneLine(answer.Request), triggerID)
	}
	return wrap("stop with savepoint", err)
}

// Cancel cancels the job. A job that is terminal already is not an error.
func (c *Client) Cancel(ctx context.Context, endpoint, jobID string) error {
	err := c.call(ctx, c.timeout, http.MethodPatch, endpoint, jobPath(jobID, "?mode=cancel"), nil, nil)
	if status(err) == http.StatusConflict {
		return nil
	}
	return wrap("cancel", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// refusal reads a definite no out of an answer, nil when it is none: no answer, a
// JobManager that is not ready, a failure that may pass, or one that is not known.
func refusal(err error) *flink.Refusal {
	e, ok := errors.AsType[*answerError](err)
	if !ok || e.Status == http.StatusServiceUnavailable || len(e.Chain) == 0 {
		return nil
	}
	v := failure.Classify(e.Chain, failure.AtStart)
	if v.Kind != failure.Permanent {
		return nil
	}
	kind := flink.RefusedProgram
	if v.ID == "jar-missing" {
		kind = flink.RefusedJar
	}
	return &flink.Refusal{Kind: kind, Cause: failure.Telling(e.Chain, failure.AtStart)}
}

// knowsJob reports whether the JobManager refused the id because it has, or had, a job of it.
func knowsJob(err error) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && slices.ContainsFunc(e.Chain, func(l failure.Link) bool {
		return strings.HasSuffix(l.Class, ".DuplicateJobSubmissionException") || strings.HasSuffix(l.Class, ".DuplicateApplicationSubmissionException")
	})
}
