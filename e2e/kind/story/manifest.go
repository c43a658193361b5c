package main

import (
	"fmt"
	"strings"

	"github.com/waterwheel-io/waterwheel/e2e/jobs/ledger"
)

// keys is how many keys the ledger job deals its numbers to.
const keys = 10

// job is a manifest to be varied.
type job struct {
	name, cluster, version, image, jar, class, state, mode, change, root string
	parallelism                                                          int
	args                                                                 []string
}

func (t *teller) clicks() job {
	return job{
		name: "clicks", cluster: "c1", version: t.o.version, jar: "local:///opt/flink/usrlib/ledger.jar", class: ledger.MainClass, state: "running",
		mode: "savepoint", change: "warm", parallelism: 1,
		args: []string{"--out", t.out, "--rate", "200", "--keys", fmt.Sprint(keys)},
	}
}

// yaml is the manifest as a user would write it.
func (j job) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: waterwheel.dev/v1
kind: Job
metadata: {name: %s}
spec:
  cluster: %s
  state: %s
  flinkVersion: %q
  image: %q
  jar:
    uri: %q
    entryClass: %s
    args: [%s]
  parallelism: %d
  upgradeMode: %s
  switch: %s
  checkpointing: {interval: 1s}
  jobManager: {cpu: "0.1", memory: 640Mi}
  taskManager: {cpu: "0.1", memory: 640Mi, slots: 1}
`, j.name, j.cluster, j.state, j.version, j.image, j.jar, j.class, quoted(j.args), j.parallelism, j.mode, j.change)
	if j.root != "" {
		fmt.Fprintf(&b, "  stateStorage: {root: %q}\n", j.root)
	}
	return b.String()
}

func quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = fmt.Sprintf("%q", a)
	}
	return strings.Join(q, ", ")
}
