package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// WaitReady returns when the cluster works: its node is ready, DNS answers and
// Services are routed. Kind's own word is for the node alone.
func (c *Cluster) WaitReady(ctx context.Context) error {
	conf, err := c.Config()
	if err != nil {
		return err
	}
	conf.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return err
	}
	return until(ctx, 300*time.Millisecond, func() error { return works(ctx, client) })
}

// works returns what is still missing.
func works(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(nodes.Items) == 0 {
		return errors.New("no node yet")
	}
	for _, node := range nodes.Items {
		if !nodeReady(node) {
			return fmt.Errorf("node %s is not ready", node.Name)
		}
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return err
	}
	proxy, err := client.AppsV1().DaemonSets("kube-system").Get(ctx, "kube-proxy", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if s := proxy.Status; s.ObservedGeneration != proxy.Generation || s.NumberReady == 0 || s.NumberReady != s.DesiredNumberScheduled {
		return fmt.Errorf("kube-proxy is not ready: %d of %d", s.NumberReady, s.DesiredNumberScheduled)
	}
	dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if dns.Status.ObservedGeneration != dns.Generation || dns.Status.AvailableReplicas == 0 {
		return errors.New("coredns is not ready")
	}
	return nil
}

func nodeReady(node corev1.Node) bool {
	for _, cond := range node.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// until asks again and again; when ctx ends the last answer is in the error.
func until(ctx context.Context, every time.Duration, done func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
