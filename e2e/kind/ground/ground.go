package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/kube/keys"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/storage"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// What the job is told.
const (
	ledgerKeys = 10
	rowsPerS   = 200
	tenant     = "default"
)

// Rhythms of looking.
const (
	perAnswer = 250 * time.Millisecond
	quietFor  = 20 * time.Second // how long an ended run is watched to stay ended
)

// ground is one job on one version of Flink, in one cluster, with this program in the agent's place: it renders objects
// and gives them to kubectl, and speaks to Flink with the run's own keys.
type ground struct {
	cluster *cluster.Cluster
	store   *storage.Server
	node    string // address of the cluster's node, where node ports are
	image   string
	place   render.Place
	master  []byte
	ring    *keys.Ring
	rest    *flinkrest.Client
	uid     string
	spec    flink.Spec
	output  string // where the job writes
	runs    []flink.Run
	log     io.Writer
}

// result is what was seen.
type result struct {
	flink                     string // version, by its REST
	start, warm, outage, back time.Duration
	intended, restored        string // of the warm upgrade
	killed, healed            int64  // newest checkpoint seen before the kill, and the one it came back from
	ledger                    ledger.Report
}

func (r result) String() string {
	return fmt.Sprintf("start_s=%.1f warm_s=%.1f outage_s=%.1f intended==restored=%t killed_back_s=%.1f healed_from=chk-%d seen_before=chk-%d finished_restarted_runs=0 without_certificate=refused %s",
		r.start.Seconds(), r.warm.Seconds(), r.outage.Seconds(), r.intended == r.restored, r.back.Seconds(), r.healed, r.killed, r.ledger)
}

func newGround(c *cluster.Cluster, s *storage.Server, root, image, version string, log io.Writer) *ground {
	g := &ground{cluster: c, store: s, node: c.NodeIP.String(), image: image, log: log, master: random(keys.MasterSize), uid: hex.EncodeToString(random(16)), output: root + "/ledger"}
	g.ring = keys.NewRing(func(context.Context) ([]byte, error) { return g.master, nil })
	client := g.ring.HTTPClient(g.dial)
	g.rest = flinkrest.New(flinkrest.Config{HTTP: client, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	g.place = render.Place{
		Namespace: "ground-" + strings.ReplaceAll(version, ".", "-") + "-" + g.uid[:6], Images: map[string]string{version: image},
		Credentials: render.Credentials{Secret: "state-storage"}, StateRoot: root + "/state", Settings: s.Settings(),
		Agent: render.Peer{Namespace: "waterwheel", Labels: map[string]string{"app.kubernetes.io/name": "waterwheel-agent"}},
	}
	g.spec = flink.Default(flink.Spec{
		FlinkVersion: version, Parallelism: 2, Checkpointing: flink.Checkpointing{Interval: "1s"},
		Jar: flink.Jar{
			URI: "local:///opt/flink/usrlib/ledger.jar", EntryClass: ledger.MainClass,
			Args: []string{"--out", g.output, "--rate", fmt.Sprint(rowsPerS), "--keys", fmt.Sprint(ledgerKeys)},
		},
		JobManager:  flink.Resources{CPU: "250m", Memory: "640Mi"},
		TaskManager: flink.TaskManager{Resources: flink.Resources{CPU: "250m", Memory: "640Mi"}, Slots: 2},
	})
	g.spec.StateStorage.Root = g.place.StateRoot
	return g
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// story is the whole proof.
func (g *ground) story(ctx context.Context) (result, error) {
	var r result
	if err := g.prepare(ctx); err != nil {
		return r, err
	}
	began := time.Now()
	first, err := g.warm(ctx)
	if err != nil {
		return r, err
	}
	seen, err := g.submit(ctx, first, "")
	if err != nil {
		return r, err
	}
	r.start, r.flink = time.Since(began), seen.FlinkVersion
	if seen.Job.Restored != nil {
		return r, fmt.Errorf("the first run came back from %s, it has to start from nothing", seen.Job.Restored.Path)
	}
	if err := g.refusesStrangers(ctx, first); err != nil {
		return r, err
	}
	if _, err := g.checkpoints(ctx, first, 3); err != nil {
		return r, err
	}
	second, err := g.upgrade(ctx, first, &r)
	if err != nil {
		return r, err
	}
	if err := g.crash(ctx, second, &r); err != nil {
		return r, err
	}
	if err := g.finish(ctx, second); err != nil {
		return r, err
	}
	r.ledger, err = g.store.Ledger(g.output, ledgerKeys)
	if err == nil {
		err = r.ledger.Err()
	}
	return r, err
}

// upgrade brings a second run beside the first and hands the job over.
func (g *ground) upgrade(ctx context.Context, first flink.Run, r *result) (flink.Run, error) {
	began := time.Now()
	second, err := g.warm(ctx)
	if err != nil {
		return second, err
	}
	if err := g.rest.Plan(ctx, g.endpoint(second), flink.ProgramOf(g.spec)); err != nil {
		return second, fmt.Errorf("run %s: check the program: %w", second, err)
	}
	r.warm = time.Since(began)
	stopped := time.Now()
	if r.intended, err = g.stop(ctx, first); err != nil {
		return second, err
	}
	seen, err := g.submit(ctx, second, r.intended)
	if err != nil {
		return second, err
	}
	r.outage, r.restored = time.Since(stopped), seen.Job.Restored.Path
	if r.restored != r.intended {
		return second, fmt.Errorf("run %s was to start from %q, Flink says %q", second, r.intended, r.restored)
	}
	return second, g.remove(ctx, first)
}

// crash kills the JobManager's container and waits until the same run runs again, by itself, from its newest checkpoint.
func (g *ground) crash(ctx context.Context, run flink.Run, r *result) error {
	before, err := g.checkpoints(ctx, run, 3)
	if err != nil {
		return err
	}
	killed := time.Now()
	if err := g.killJobManager(ctx, run); err != nil {
		return err
	}
	seen, err := g.await(ctx, run, "", "come back by itself", func(s flink.REST) (bool, error) {
		j := s.Job
		return j != nil && j.AllRunning() && j.Restored != nil && !j.Restored.IsSavepoint, nil
	})
	if err != nil {
		return err
	}
	r.back = time.Since(killed)
	path := seen.Job.Restored.Path
	n, ok := flink.CheckpointID(path)
	if !ok || !strings.Contains(path, "/"+run.JobID()+"/chk-") || n < before.ID {
		return fmt.Errorf("run %s had completed %s before its JobManager was killed, and came back from %s", run, before.Path, path)
	}
	r.killed, r.healed = before.ID, n
	_, err = g.checkpoints(ctx, run, 2)
	return err
}

// finish stops the job, kills the JobManager again, and watches that nothing runs. Flink says FINISHED a moment before it
// has put that on record for good: a JobManager of 2.3 that is killed in between runs nothing either, but ends again and
// again at its start.
func (g *ground) finish(ctx context.Context, run flink.Run) error {
	if _, err := g.stop(ctx, run); err != nil {
		return err
	}
	if _, err := g.await(ctx, run, "", "put its end on record", func(flink.REST) (bool, error) { return g.ended(run) }); err != nil {
		return err
	}
	if err := g.killJobManager(ctx, run); err != nil {
		return err
	}
	if _, err := g.await(ctx, run, "", "answer again", func(s flink.REST) (bool, error) { return s.JobsListed, nil }); err != nil {
		return err
	}
	end := time.Now().Add(quietFor)
	_, err := g.await(ctx, run, "", "stay ended", func(s flink.REST) (bool, error) {
		if s.Job != nil && !flink.JobTerminal(s.Job.State) || len(s.OtherJobs) > 0 {
			return false, fmt.Errorf("it was FINISHED, its JobManager was killed, and now there runs something: %s, %v", describe(s.Job), s.OtherJobs)
		}
		return time.Now().After(end), nil
	})
	return err
}

// ended reports whether the end of a run's job is on record in its storage.
func (g *ground) ended(run flink.Run) (bool, error) {
	file, err := g.store.Path(config.Dirs(g.place.StateRoot, tenant, run).HA + "/job-result-store/" + render.Name(run) + "/" + run.JobID() + ".json")
	if err != nil {
		return false, err
	}
	_, err = os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// warm renders and applies the next run, and waits until its cluster is there, empty.
func (g *ground) warm(ctx context.Context) (flink.Run, error) {
	run := flink.Run{UID: g.uid, Term: 1, Run: int32(len(g.runs) + 1)}
	g.runs = append(g.runs, run)
	if err := g.apply(ctx, run); err != nil {
		return run, err
	}
	_, err := g.await(ctx, run, "", "warm up", func(s flink.REST) (bool, error) {
		return s.JobsListed && s.SlotsTotal >= g.spec.Parallelism, nil
	})
	return run, err
}

// apply gives a run's objects to kubectl, the anchor first, since the others are owned by it.
func (g *ground) apply(ctx context.Context, run flink.Run) error {
	launch := flink.Launch{Run: run, Tenant: tenant, Name: "ledger", Spec: g.spec, Generation: run.Run}
	o, err := render.Run(launch, g.place)
	if err != nil {
		return err
	}
	if err := g.kubectlApply(ctx, o.ConfigMap); err != nil {
		return err
	}
	text, err := g.kubectl(ctx, "", "get", "configmap", render.Name(run), "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return err
	}
	anchor := types.UID(text)
	material, err := g.ring.Run(ctx, render.Name(run))
	if err != nil {
		return err
	}
	stores, err := material.Stores(render.RESTHost(run, g.place.Namespace))
	if err != nil {
		return err
	}
	secret := render.Secret(launch, g.place, render.Keys(stores), anchor)
	return g.kubectlApply(ctx, append([]render.Object{secret, nodePort(run, g.place.Namespace)}, o.Owned(anchor).All()[1:]...)...)
}

// submit hands in the job and returns when all its tasks run.
func (g *ground) submit(ctx context.Context, run flink.Run, from string) (flink.REST, error) {
	s := flink.Submission{Program: flink.ProgramOf(g.spec), JobID: run.JobID(), SnapshotPath: from}
	if err := g.rest.Submit(ctx, g.endpoint(run), s); err != nil {
		return flink.REST{}, fmt.Errorf("run %s: hand in the job: %w", run, err)
	}
	return g.await(ctx, run, "", "have all tasks running", func(s flink.REST) (bool, error) {
		if s.Job != nil && flink.JobTerminal(s.Job.State) {
			return false, fmt.Errorf("the job is %s: %s", s.Job.State, s.Job.Cause.String())
		}
		// The restored path comes from a cache that may lag behind the state.
		return s.Job != nil && s.Job.AllRunning() && (from == "" || s.Job.Restored != nil), nil
	})
}

// stop ends the job with a savepoint and returns its path.
func (g *ground) stop(ctx context.Context, run flink.Run) (string, error) {
	trigger := run.TriggerID("stop", 0)
	dir := config.Dirs(g.place.StateRoot, tenant, run).Savepoints
	if err := g.rest.Stop(ctx, g.endpoint(run), run.JobID(), trigger, dir); err != nil {
		return "", fmt.Errorf("run %s: stop with a savepoint: %w", run, err)
	}
	seen, err := g.await(ctx, run, trigger, "stop with a savepoint", func(s flink.REST) (bool, error) {
		if s.Trigger != nil && s.Trigger.Failure != nil {
			return false, fmt.Errorf("the savepoint failed: %s", s.Trigger.Failure)
		}
		return s.Trigger != nil && s.Trigger.Completed && s.Job != nil && s.Job.State == flink.JobFinished, nil
	})
	if err != nil {
		return "", err
	}
	return seen.Trigger.Location, nil
}

// checkpoints waits for n more completed checkpoints and returns the newest.
func (g *ground) checkpoints(ctx context.Context, run flink.Run, n int64) (flink.Snapshot, error) {
	first := int64(-1)
	seen, err := g.await(ctx, run, "", fmt.Sprintf("complete %d checkpoints", n), func(s flink.REST) (bool, error) {
		if s.Job == nil {
			return false, nil
		}
		if first < 0 {
			first = s.Job.Completed
		}
		return s.Job.Completed >= first+n, nil
	})
	if err != nil {
		return flink.Snapshot{}, err
	}
	return seen.Job.Latest, nil
}

// await asks the run's JobManager until ok says yes.
func (g *ground) await(ctx context.Context, run flink.Run, trigger, what string, ok func(flink.REST) (bool, error)) (flink.REST, error) {
	tick := time.NewTicker(perAnswer)
	defer tick.Stop()
	for {
		last := g.rest.Observe(ctx, g.endpoint(run), flink.RESTQuery{JobID: run.JobID(), TriggerID: trigger})
		yes, err := ok(last)
		if err != nil {
			return last, fmt.Errorf("run %s: %s: %w", run, what, err)
		}
		if yes {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("run %s did not %s: %w; last seen: slots %d, job %s, %q", run, what, context.Cause(ctx), last.SlotsTotal, describe(last.Job), last.Err)
		case <-tick.C:
		}
	}
}

func describe(j *flink.JobObserved) string {
	if j == nil {
		return "none"
	}
	return fmt.Sprintf("%s %d/%d", j.State, j.TasksRunning, j.TasksTotal)
}

func (g *ground) endpoint(run flink.Run) string { return render.Endpoint(run, g.place.Namespace) }

// kubectlApply applies objects as a list.
func (g *ground) kubectlApply(ctx context.Context, objects ...render.Object) error {
	var docs []string
	for _, o := range objects {
		text, err := render.Apply(o)
		if err != nil {
			return err
		}
		docs = append(docs, string(text))
	}
	_, err := g.kubectl(ctx, strings.Join(docs, "\n---\n"), "apply", "--server-side", "-f", "-")
	return err
}

func (g *ground) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return g.cluster.KubectlWith(ctx, strings.NewReader(stdin), append([]string{"-n", g.place.Namespace}, args...)...)
}

// dial reaches a run's REST Service by its node port, since no name of the cluster is known outside of it.
func (g *ground) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for _, run := range g.runs {
		if render.RESTHost(run, g.place.Namespace) == host {
			return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, net.JoinHostPort(g.node, fmt.Sprint(portOf(run))))
		}
	}
	return nil, errors.New("no run answers to " + host)
}
