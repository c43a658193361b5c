package kube

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits of what is told of a pod.
const (
	maxWords      = 300              // bytes of somebody else's sentence
	creatingLimit = 10 * time.Second // a container that is created for longer has a reason, which only events tell
)

// ended reports whether all containers of a pod have ended for good.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

// processOf is what a pod tells of its process, in words where it does not work.
func processOf(p *corev1.Pod) flink.Process {
	s := mainStatus(p)
	proc := flink.Process{
		State: flink.ProcessRunning, ID: p.Name, Restarts: int(s.RestartCount), StartedAt: p.CreationTimestamp.Time,
		Log: logCommand(p),
	}
	if r := s.State.Running; r != nil {
		proc.StartedAt = r.StartedAt.Time
	}
	if last := terminated(s); last != nil {
		proc.Reason = ending(last)
	}
	if ended(p) {
		proc.State, proc.ExitCode = flink.ProcessExited, -1
		if t := s.State.Terminated; t != nil {
			proc.ExitCode, proc.StartedAt = int(t.ExitCode), t.StartedAt.Time
		}
		if p.Status.Reason != "" { // Evicted, and such
			proc.Reason = limited(p.Status.Reason + ": " + p.Status.Message)
		}
		return proc
	}
	proc.Waiting = waiting(p)
	proc.Ended = p.DeletionTimestamp == nil && nodeLost(p) == "" &&
		(s.State.Terminated != nil || s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff")
	return proc
}

// deletedAt is when an object was asked to go. Its time of deletion is when it is to be gone, which is later by the time
// that it has to end.
func deletedAt(o metav1.Object) time.Time {
	at := o.GetDeletionTimestamp().Time
	if grace := o.GetDeletionGracePeriodSeconds(); grace != nil {
		at = at.Add(-time.Duration(*grace) * time.Second)
	}
	return at
}

// waiting says why a pod does not work, as far as the pod itself tells.
func waiting(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		on := ""
		if p.Spec.NodeName != "" {
			on = " on node " + p.Spec.NodeName
		}
		return fmt.Sprintf("it is being ended%s since %s", on, clock(deletedAt(p)))
	}
	if c := condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		return limited("no node takes it: " + cmp.Or(c.Message, c.Reason))
	}
	if words := nodeLost(p); words != "" {
		return words
	}
	for i := range p.Status.InitContainerStatuses {
		s := &p.Status.InitContainerStatuses[i]
		if words := containerWaits(s, imageOf(p.Spec.InitContainers, s.Name)); words != "" {
			return words
		}
	}
	s := mainStatus(p)
	return containerWaits(&s, imageOf(p.Spec.Containers, s.Name))
}

// nodeLost says that the node of a pod does not answer. Its containers may run on.
func nodeLost(p *corev1.Pod) string {
	c := condition(p, corev1.PodReady)
	if c == nil || p.Spec.NodeName == "" {
		return ""
	}
	// The control plane marks the pods of a node that is silent; their containers keep the last word of their kubelet.
	lost := c.Status == corev1.ConditionUnknown || p.Status.Reason == "NodeLost" ||
		c.Status == corev1.ConditionFalse && len(p.Spec.ReadinessGates) == 0 && allReady(p.Status.ContainerStatuses)
	if !lost {
		return ""
	}
	return fmt.Sprintf("its node %s has not answered since %s", p.Spec.NodeName, clock(c.LastTransitionTime.Time))
}

func allReady(all []corev1.ContainerStatus) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(s corev1.ContainerStatus) bool { return !s.Ready || s.State.Running == nil })
}

// containerWaits says why a container does not run.
func containerWaits(s *corev1.ContainerStatus, image string) string {
	if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
		return limited(fmt.Sprintf("container %s %s", s.Name, ending(t)))
	}
	w := s.State.Waiting
	if w == nil {
		return ""
	}
	switch w.Reason {
	case "", "ContainerCreating", "PodInitializing":
		return ""
	case "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "InvalidImageName":
		return limited(fmt.Sprintf("image %s cannot be pulled: %s", image, cmp.Or(w.Message, w.Reason)))
	case "CrashLoopBackOff":
		if last := s.LastTerminationState.Terminated; last != nil {
			return limited(fmt.Sprintf("container %s ends again and again, %d times so far: it %s", s.Name, s.RestartCount, ending(last)))
		}
	case "CreateContainerConfigError":
		return limited(fmt.Sprintf("container %s cannot be made: %s", s.Name, w.Message))
	}
	return limited(fmt.Sprintf("container %s waits: %s: %s", s.Name, w.Reason, w.Message))
}

// ending says how a container ended, with its last words.
func ending(t *corev1.ContainerStateTerminated) string {
	out := fmt.Sprintf("ended with exit %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		out += " (" + t.Reason + ")"
	}
	if words := lastWords(t.Message); words != "" {
		out += ": " + words
	}
	return limited(out)
}

// cause finds the line of a log's end that tells most.
var cause = regexp.MustCompile(`^(?:Caused by: )?[\w.$]+(?:Exception|Error)\b.*|^(?:Error|Exception in thread)\b.*|^cp: .*`)

// lastWords is the one line of a container's last output that tells why it ended: the innermost cause, else the last line.
// A cause that names an address outside tells more than what the network said of it: "s3://… : Connection refused".
func lastWords(message string) string {
	last, found, place := "", "", ""
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = line
		if cause.MatchString(line) {
			found = strings.TrimPrefix(line, "Caused by: ")
			if strings.Contains(found, "://") {
				place = found
			}
		}
	}
	return limited(cmp.Or(place, found, last))
}

// jarMissing is why the init container that brings the program's jar cannot, "" if it can or has not tried.
func jarMissing(p *corev1.Pod, container string) string {
	for i := range p.Status.InitContainerStatuses {
		s := &p.Status.InitContainerStatuses[i]
		if s.Name != container {
			continue
		}
		if t := terminated(*s); t != nil && t.ExitCode != 0 && s.State.Running == nil {
			return cmp.Or(lastWords(t.Message), ending(t))
		}
	}
	return ""
}

// terminated is a container's end: the present one, or the last before it started again.
func terminated(s corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if s.State.Terminated != nil {
		return s.State.Terminated
	}
	return s.LastTerminationState.Terminated
}

// mainContainer is the container that runs Flink: the one named as the component.
// A cluster may put others before it; a pod that is not like ours has its first.
func mainContainer(p *corev1.Pod) string {
	name := p.Labels[render.LabelComponent]
	if len(p.Spec.Containers) > 0 && !slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }) {
		name = p.Spec.Containers[0].Name
	}
	return name
}

// mainStatus is the status of the container that runs Flink.
func mainStatus(p *corev1.Pod) corev1.ContainerStatus {
	name := mainContainer(p)
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == name {
			return s
		}
	}
	return corev1.ContainerStatus{}
}

// logCommand is how a person sees what a process of Flink prints.
func logCommand(p *corev1.Pod) string {
	command := fmt.Sprintf("kubectl -n %s logs %s", p.Namespace, p.Name)
	if len(p.Spec.Containers) > 1 {
		command += " -c " + mainContainer(p)
	}
	return command
}

// isSidecar reports whether an init container runs beside the others and not before them.
func isSidecar(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}

func imageOf(all []corev1.Container, name string) string {
	for _, c := range all {
		if c.Name == name {
			return c.Image
		}
	}
	return ""
}

func condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// creating reports since when a pod with a node has a container that is only being created; zero: it has none.
func creating(p *corev1.Pod) time.Time {
	if p.DeletionTimestamp != nil || ended(p) || p.Spec.NodeName == "" {
		return time.Time{}
	}
	being := func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && (s.State.Waiting.Reason == "ContainerCreating" || s.State.Waiting.Reason == "PodInitializing")
	}
	main := mainStatus(p)
	waits := main.Name == "" || being(main)
	for _, s := range p.Status.InitContainerStatuses {
		if s.State.Running != nil && !isSidecar(p, s.Name) {
			return time.Time{} // an init container at work is no wait
		}
		waits = waits || being(s)
	}
	if main.State.Running != nil || !waits {
		return time.Time{}
	}
	if c := condition(p, corev1.PodScheduled); c != nil {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}

// limited keeps what others say to one line of bounded length.
func limited(s string) string {
	return cut(strings.Join(strings.Fields(s), " "), maxWords)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }
