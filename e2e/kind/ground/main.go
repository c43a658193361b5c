// Command ground proves what everything else on Kubernetes stands on, with real Flink, in a real cluster, on object
// storage, and with none of the product but the renderer: its objects are given to kubectl. For each version a job is
// started, handed from one run to the next warm, has its JobManager killed, and is stopped; its output is checked then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/e2e/kind/image"
	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
)

func main() {
	versions := flag.String("versions", "1.20,2.3", "Flink versions")
	artifacts := flag.String("artifacts", "artifacts", "where logs are kept")
	limit := flag.Duration("timeout", 8*time.Minute, "for one version, once the cluster is there")
	keep := flag.Bool("keep", false, "leave the cluster and what is in it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*versions, ","), filepath.Join(*artifacts, "ground-kind"), *limit, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "ground-kind:", err)
		stop()
		os.Exit(1)
	}
}

// run does all versions, also after one has failed.
func run(ctx context.Context, versions []string, artifacts string, limit time.Duration, keep bool) (err error) {
	base, err := world.Open(ctx, world.Options{Name: "ground", Versions: versions, Artifacts: artifacts, Progress: os.Stderr})
	if err != nil {
		return err
	}
	var images []image.Archive
	for _, v := range versions {
		images = append(images, base.Flink[v])
	}
	c, err := base.Cluster(ctx, cluster.Options{Name: "ground"}, images...)
	if err != nil {
		return err
	}
	if !keep {
		defer func() {
			err = errors.Join(err, base.Close(context.WithoutCancel(ctx), c))
		}()
	}
	var failed []error
	for _, v := range versions {
		if err := version(ctx, base, c, v, artifacts, limit); err != nil {
			failed = append(failed, fmt.Errorf("version %s: %w", v, err))
		}
	}
	if len(failed) > 0 {
		failed = append(failed, c.DumpArtifacts(context.WithoutCancel(ctx), artifacts))
	}
	return errors.Join(failed...)
}

func version(ctx context.Context, base *world.Base, c *cluster.Cluster, v, artifacts string, limit time.Duration) error {
	log, err := os.Create(filepath.Join(artifacts, "flink-"+v+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	root := fmt.Sprintf("%s/%s-%d", base.Root(), v, time.Now().Unix())
	g := newGround(c, base.Storage, root, base.Flink[v].Ref, v, log)
	base.Say("Flink " + v + ": the story begins in namespace " + g.place.Namespace)
	r, err := g.story(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("ground-kind version=%s %s\n", r.flink, r)
	if _, err := c.Kubectl(ctx, "delete", "namespace", g.place.Namespace, "--wait=false"); err != nil {
		return err
	}
	return nil
}
