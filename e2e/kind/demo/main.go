// Command demo shows the whole product in real clusters: a vendor's with the hub, two customers' with an agent each, all
// installed by Helm, and a real Flink job on object storage. It leaves everything running and says what to look at;
// -down removes it.
//
// In its line cold_s is the whole time of a run that had to make images or tools first, and none of one that found them;
// warm_s is the time without that making, which where all was found is the whole time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// customers is how many clusters there are besides the vendor's.
const customers = 2

func main() {
	version := flag.String("version", "2.3", "Flink version")
	artifacts := flag.String("artifacts", "../../artifacts/demo-kind", "where logs are kept")
	down := flag.Bool("down", false, "remove the demo")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := up
	if *down {
		do = remove
	}
	if err := do(ctx, *version, *artifacts); err != nil {
		fmt.Fprintln(os.Stderr, "demo-kind:", err)
		stop()
		os.Exit(1)
	}
}

// job is what a job owner writes.
const job = `apiVersion: waterwheel.dev/v1
kind: Job
metadata: {name: clicks}
spec:
  cluster: c1
  flinkVersion: %q
  jar:
    uri: "local:///opt/flink/usrlib/ledger.jar"
    entryClass: %s
    args: [--out, %q, --rate, "100"]
  parallelism: 2
  checkpointing: {interval: 2s}
  jobManager: {cpu: "0.1", memory: 640Mi}
  taskManager: {cpu: "0.1", memory: 640Mi, slots: 1}
`

func up(ctx context.Context, version, artifacts string) error {
	began, warm := time.Now(), len(world.Missing([]string{version})) == 0
	base, err := world.Open(ctx, world.Options{Name: "demo", Versions: []string{version}, Product: true, Artifacts: artifacts, Progress: os.Stderr})
	if err != nil {
		return err
	}
	found := began // when all was there that takes minutes once
	if !warm {
		found = time.Now()
	}
	f, err := base.Fleet(ctx, world.FleetOptions{Customers: customers})
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(artifacts, "typed.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	w := &stage.World{Dir: filepath.Dir(f.Config()), Bin: f.Bin(), Log: log}
	if err := w.Apply(ctx, fmt.Sprintf(job, version, ledger.MainClass, base.Root()+"/clicks")); err != nil {
		return err
	}
	base.Say("next: job clicks, declared at the hub; c1 brings up Flink for it, within a minute or two")
	j, err := w.WaitJob(ctx, "clicks", "Running, with a checkpoint", 5*time.Minute, func(j stage.Job) bool {
		return j.Status.Ready() && j.Status.Flink.Checkpoints > 0
	})
	if err != nil {
		return err
	}
	var cold any = "none"
	if !warm {
		cold = time.Since(began)
	}
	stage.Line(os.Stdout, "demo-kind", "clusters", 1+customers, "job", j.Status.State,
		"tasks", fmt.Sprintf("%d/%d", j.Status.Flink.TasksRunning, j.Status.Flink.TasksTotal), "checkpoints", j.Status.Flink.Checkpoints,
		"flink", j.Status.Flink.Version, "cold_s", cold, "warm_s", time.Since(found))
	c := f.Customers[0]
	fmt.Printf(`
What to look at next. For this shell first:
  export WATERWHEEL_CONFIG=%[1]s PATH=%[2]s:$PATH

As the vendor:
  waterwheel get clusters            what the hub knows of its customers' clusters
  waterwheel get jobs -w             the fleet's jobs; leave it open beside what follows
  waterwheel describe job clicks     everything about one, with the way to its Flink UI and logs

As the customer c1:
  export KUBECONFIG=%[3]s
  kubectl get wj -A                  what was ordered here and what became of it
  kubectl -n %[4]s get pods
                                     Flink, a cluster for each run
  kubectl -n %[5]s annotate wj --all waterwheel.dev/hold="audit"
                                     nothing is changed here any more; waterwheel.dev/hold- ends it

Break it:
  kubectl -n %[4]s delete pod -l waterwheel.dev/component=jobmanager
                                     it comes back by itself, from its newest checkpoint
  kubectl -n %[4]s delete deployment --all
                                     put back by the agent

Remove it all: make demo-kind-down
`, f.Config(), f.Bin(), c.Kubeconfig, world.JobNamespace, world.AgentNamespace)
	return nil
}

// remove removes what up made, whether it was finished or not.
func remove(ctx context.Context, _, _ string) error {
	left, err := world.Remove(ctx, "demo", os.Stderr)
	stage.Line(os.Stdout, "demo-kind-down", "containers", left.Containers, "processes", left.Processes)
	if err == nil && left.Containers+left.Processes > 0 {
		err = errors.New("something is left")
	}
	return err
}
