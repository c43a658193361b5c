package flinkrest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/failure"
)

// maxOtherJobs bounds how many foreign job ids are told.
const maxOtherJobs = 16

// Observe asks one JobManager for everything that decisions need. Reachable
// means that its overview and its job list got an HTTP answer; Err is the first
// thing that could not be had. States come from the job list alone: what the
// paths of one job say is older. The run in JobObserved.Latest and SilentSince are left to the caller.
func (c *Client) Observe(ctx context.Context, endpoint string, q flink.RESTQuery) flink.REST {
	if endpoint == "" {
		return flink.REST{}
	}
	ctx, cancel := context.WithTimeout(ctx, c.observe)
	defer cancel()
	r := flink.REST{Asked: true}
	note := func(err error) {
		if err != nil && r.Err == "" {
			r.Err = failure.OneLine(err.Error())
		}
	}

	var overview overviewAnswer
	err := c.get(ctx, endpoint, "/overview", &overview)
	note(err)
	if !answered(err) {
		_, r.OtherKeys = errors.AsType[x509.UnknownAuthorityError](err)
		return r
	}
	r.FlinkVersion, r.TaskManagers = overview.Version, overview.TaskManagers
	r.SlotsTotal, r.SlotsFree = overview.SlotsTotal, overview.SlotsFree

	var jobs jobsAnswer
	err = c.get(ctx, endpoint, "/jobs/overview", &jobs)
	note(err)
	r.Reachable = answered(err)
	if err == nil && jobs.Jobs == nil {
		err = fmt.Errorf("GET /jobs/overview: %w: no list of jobs", errNotJSON)
		note(err)
	}
	if err != nil {
		return r
	}
	r.JobsListed = true
	for _, j := range jobs.Jobs {
		switch {
		case j.ID == q.JobID:
			r.Job = j.observed()
		case len(r.OtherJobs) < maxOtherJobs:
			r.OtherJobs = append(r.OtherJobs, j.ID)
		}
	}
	if r.Job != nil {
		note(c.details(ctx, endpoint, r.Job))
	}
	if q.TriggerID != "" {
		note(c.trigger(ctx, endpoint, q, &r))
	}
	return r
}

// details fills in what the job list does not tell. It goes on past a part that
// cannot be had, and returns the first error. A 404 is none: the job list is ahead of the other paths.
func (c *Client) details(ctx context.Context, endpoint string, job *flink.JobObserved) error {
	var first error
	ask := func(rest string, into any) bool {
		err := c.get(ctx, endpoint, jobPath(job.ID, rest), into)
		if err != nil && status(err) != http.StatusNotFound && first == nil {
			first = err
		}
		return err == nil
	}

	var vertices verticesAnswer
	if ask("", &vertices) {
		job.Parallelism = vertices.parallelism()
	}
	var checkpoints checkpointsAnswer
	if ask("/checkpoints", &checkpoints) {
		job.Latest, job.Restored, job.Completed = checkpoints.latest(), checkpoints.restored(), checkpoints.Counts.Completed
	}
	var wanted requirementsAnswer
	if job.State == flink.JobRunning && ask("/resource-requirements", &wanted) {
		job.Wanted = wanted.parallelism()
	}
	var metrics metricsAnswer
	if !flink.JobTerminal(job.State) && ask("/metrics?get=numRestarts", &metrics) {
		job.Restarts = metrics.count("numRestarts")
	}
	if job.State == flink.JobFailed {
		var result resultAnswer
		if ask("/execution-result", &result) && result.Result != nil && result.Result.Failure != nil {
			f := result.Result.Failure
			job.Cause = new(cause(f.Class, f.Stack))
			return first
		}
	}
	var exceptions exceptionsAnswer
	if wantsExceptions(*job) && ask("/exceptions?maxExceptions=1", &exceptions) {
		job.Cause = exceptions.newest()
	}
	return first
}

// wantsExceptions keeps the call away from jobs that have nothing to tell: those that never failed.
func wantsExceptions(j flink.JobObserved) bool {
	switch j.State {
	case flink.JobFinished, flink.JobCanceled, flink.JobInitializing:
		return false
	case flink.JobRunning:
		return j.Restarts > 0
	}
	return true
}

func (c *Client) trigger(ctx context.Context, endpoint string, q flink.RESTQuery, r *flink.REST) error {
	var a triggerAnswer
	err := c.get(ctx, endpoint, jobPath(q.JobID, "/savepoints/"+url.PathEscape(q.TriggerID)), &a)
	switch {
	case status(err) == http.StatusNotFound:
		r.TriggerGone = true
		return nil
	case err != nil:
		return err
	case a.Status.ID == "":
		return fmt.Errorf("GET status of trigger %s: %w", q.TriggerID, errNotJSON)
	}
	r.Trigger = a.trigger(q.TriggerID)
	return nil
}
