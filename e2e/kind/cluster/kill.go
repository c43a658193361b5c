package cluster

import (
	"context"
	"fmt"
	"strings"
)

// Kill sends SIGKILL to the process of a container in every pod that a label selector selects, and returns how many got
// it. The pods stay, and their containers are started again as their restart policy says.
func (c *Cluster) Kill(ctx context.Context, namespace, selector, container string) (int, error) {
	pods, err := c.Kubectl(ctx, "-n", namespace, "get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return 0, err
	}
	killed := 0
	for pod := range strings.FieldsSeq(pods) {
		ids, err := c.Exec(ctx, "crictl", "ps", "-q", "--label", "io.kubernetes.pod.namespace="+namespace,
			"--label", "io.kubernetes.pod.name="+pod, "--label", "io.kubernetes.container.name="+container)
		if err != nil {
			return killed, err
		}
		for id := range strings.FieldsSeq(ids) {
			pid, err := c.Exec(ctx, "crictl", "inspect", "-o", "go-template", "--template", "{{.info.pid}}", id)
			if err != nil {
				return killed, err
			}
			if _, err := c.Exec(ctx, "kill", "-KILL", strings.TrimSpace(pid)); err != nil {
				return killed, err
			}
			killed++
		}
	}
	if killed == 0 {
		return 0, fmt.Errorf("no container %s runs in pods %s of namespace %s", container, selector, namespace)
	}
	return killed, nil
}
