package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/kube/scene"
	"github.com/waterwheel-io/waterwheel/flink"
)

// How the stand-ins work.
const (
	kubeletEvery = time.Second
	players      = 8 // requests of the stand-ins at once
	graphKey     = "executionPlan-"
	leaderKey    = "control-plane.alpha.kubernetes.io/leader"
	handedKey    = "scene/handed" // when the job was handed in, for whoever plays its checkpoints
)

// handIn keeps what a JobManager keeps of a job that it was handed: the graph, and that there is no checkpoint yet.
func handIn(ctx context.Context, client kubernetes.Interface, run flink.Run, at time.Time) error {
	note := map[string]string{handedKey: at.Format(time.RFC3339Nano), leaderKey: leader(at)}
	for name, data := range map[string]map[string]string{
		render.CheckpointConfigMap(run): {"counter": "1"},
		render.LeaderConfigMap(run):     {graphKey + run.JobID(): "rO0ABXNy"},
	} {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: render.HighAvailabilitySelector(run), Annotations: note}, Data: data,
		}
		_, err := client.CoreV1().ConfigMaps(scene.Namespace).Create(ctx, cm, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("keep the job's graph: %w", err)
		}
	}
	return nil
}

// leader is the record by which a JobManager leads.
func leader(now time.Time) string {
	return fmt.Sprintf(`{"holderIdentity":"jobmanager","leaseDuration":15.0,"renewTime":%q,"leaderTransitions":1}`, now.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// play has pods get ready, and JobManagers renew their leases and complete checkpoints, until ctx ends.
func play(ctx context.Context, c *scene.Cluster, orders []flink.Order, renew time.Duration) error {
	cfg := *c.Admin
	cfg.UserAgent = "stand-in"
	client, err := kubernetes.NewForConfig(&cfg)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	p := &player{client: client, last: map[string]int64{}}
	kubelet, leases := time.NewTicker(kubeletEvery), time.NewTicker(renew)
	defer kubelet.Stop()
	defer leases.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-kubelet.C:
			err = p.kubelet(ctx)
		case <-leases.C:
			err = p.flinks(ctx, orders)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

type player struct {
	client kubernetes.Interface

	mu   sync.Mutex       // guards what follows
	last map[string]int64 // newest checkpoint on record, by run
}

// kubelet has the containers of new pods run.
func (p *player) kubelet(ctx context.Context) error {
	pods, err := p.client.CoreV1().Pods(scene.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Pending"})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	return together(pods.Items, func(pod corev1.Pod) error {
		pod.Status = running(&pod, metav1.Now())
		if _, err := p.client.CoreV1().Pods(scene.Namespace).UpdateStatus(ctx, &pod, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("have pod %s run: %w", pod.Name, err)
		}
		return nil
	})
}

// running is the status of a pod all of whose containers work.
func running(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: "10.1.0.1", HostIP: "10.2.0.1"}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range pod.Spec.InitContainers {
		s.InitContainerStatuses = append(s.InitContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}},
		})
	}
	for _, c := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true, Started: new(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return s
}

// flinks has each JobManager renew its lease, and put down a checkpoint that it has completed meanwhile.
func (p *player) flinks(ctx context.Context, orders []flink.Order) error {
	maps := p.client.CoreV1().ConfigMaps(scene.Namespace)
	return together(orders, func(o flink.Order) error {
		run, now := scene.FirstRun(o), time.Now()
		renewal := map[string]any{"metadata": map[string]any{"annotations": map[string]string{leaderKey: leader(now)}}}
		cm, err := maps.Patch(ctx, render.LeaderConfigMap(run), types.MergePatchType, text(renewal), metav1.PatchOptions{})
		if apierrors.IsNotFound(err) {
			return nil // it has no job yet
		}
		if err != nil {
			return fmt.Errorf("renew a lease: %w", err)
		}
		since, err := time.Parse(time.RFC3339Nano, cm.Annotations[handedKey])
		if err != nil {
			return fmt.Errorf("read when %s was handed in: %w", o.Name, err)
		}
		done := p.completed(run.Name(), scene.Completed(since, now, o.Spec.CheckpointInterval()))
		if done == nil {
			return nil
		}
		if _, err := maps.Patch(ctx, render.CheckpointConfigMap(run), types.MergePatchType, text(done), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("put down a checkpoint: %w", err)
		}
		return nil
	})
}

// completed is the change of a run's record of checkpoints after its nth; nil: it stands there already.
func (p *player) completed(run string, n int64) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.last[run]
	if n == old {
		return nil
	}
	p.last[run] = n
	data := map[string]any{pointer(n): "rO0ABXNy", "counter": fmt.Sprint(n + 1)}
	if old > 0 {
		data[pointer(old)] = nil
	}
	return map[string]any{"data": data}
}

func pointer(n int64) string { return fmt.Sprintf("checkpointID-%019d", n) }

func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("%T has no JSON form: %v", v, err)) // all of them are plain values
	}
	return b
}

// together does each, some at a time, and returns the first error when all are done.
func together[T any](all []T, do func(T) error) error {
	errs := make(chan error, len(all))
	places := make(chan struct{}, players)
	for _, x := range all {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			errs <- do(x)
		}()
	}
	var first error
	for range all {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}
