package kube

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// jobManagerPod is a pod on node n1 that works.
func jobManagerPod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "team", CreationTimestamp: metav1.NewTime(noon), Labels: map[string]string{render.LabelComponent: render.JobManager}},
		Spec: corev1.PodSpec{
			NodeName:       "n1",
			InitContainers: []corev1.Container{{Name: jarContainer, Image: "flink:x"}},
			Containers:     []corev1.Container{{Name: "jobmanager", Image: "flink:x"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{Name: jarContainer, State: exited(0, "Completed", "")}},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "jobmanager", Ready: true,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon.Add(time.Minute))}},
			}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

func exited(code int32, reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}
}

func waits(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func main(s corev1.ContainerState, last ...corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := &p.Status.ContainerStatuses[0]
		c.Ready, c.State = false, s
		if len(last) > 0 {
			c.LastTerminationState, c.RestartCount = last[0], 4
		}
		p.Status.Conditions[1].Status = corev1.ConditionFalse
	}
}

const stack = `2026-03-04 12:00:01 ERROR [main] o.a.f.r.entrypoint.ClusterEntrypoint - Could not start cluster
java.util.concurrent.CompletionException: org.apache.flink.util.FlinkException: no
	at java.base/java.util.concurrent.CompletableFuture.encodeThrowable(CompletableFuture.java:315)
Caused by: java.nio.file.AccessDeniedException: s3://bucket/state: 403 Forbidden
	... 12 more
`

func TestAPodSaysWhyItDoesNotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string // all of it
	}{
		"it works": {nil, ""},
		"no node has room": {func(p *corev1.Pod) {
			p.Spec.NodeName = ""
			p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 Insufficient memory.",
			}}}
		}, "no node takes it: 0/1 nodes are available: 1 Insufficient memory."},
		"image missing": {main(waits("ImagePullBackOff", `Back-off pulling image "flink:x": not found`)), `image flink:x cannot be pulled: Back-off pulling image "flink:x": not found`},
		"image missing for the jar": {func(p *corev1.Pod) {
			p.Status.InitContainerStatuses[0].State = waits("ErrImagePull", "not found")
			main(waits("PodInitializing", ""))(p)
		}, "image flink:x cannot be pulled: not found"},
		"image's name":        {main(waits("InvalidImageName", `couldn't parse image name "A:B:C"`)), `image flink:x cannot be pulled: couldn't parse image name "A:B:C"`},
		"secret missing":      {main(waits("CreateContainerConfigError", `secret "s3" not found`)), `container jobmanager cannot be made: secret "s3" not found`},
		"container is made":   {main(waits("ContainerCreating", "")), ""},
		"cannot be run":       {main(waits("RunContainerError", "exec: \"java\": not found")), `container jobmanager waits: RunContainerError: exec: "java": not found`},
		"out of memory":       {main(waits("CrashLoopBackOff", "back-off 40s"), exited(137, "OOMKilled", "")), "container jobmanager ends again and again, 4 times so far: it ended with exit 137 (OOMKilled)"},
		"crash, in Java":      {main(waits("CrashLoopBackOff", "back-off 40s"), exited(1, "Error", stack)), "container jobmanager ends again and again, 4 times so far: it ended with exit 1: java.nio.file.AccessDeniedException: s3://bucket/state: 403 Forbidden"},
		"crash, not told why": {main(exited(239, "Error", "one\n last word \n\n")), "container jobmanager ended with exit 239: last word"},
		"jar missing": {func(p *corev1.Pod) {
			s := &p.Status.InitContainerStatuses[0]
			s.State, s.LastTerminationState, s.RestartCount = waits("CrashLoopBackOff", "back-off"), exited(1, "Error", "cp: cannot stat '/opt/flink/usrlib/job.jar': No such file or directory\n"), 2
			main(waits("PodInitializing", ""))(p)
		}, "container jar ends again and again, 2 times so far: it ended with exit 1: cp: cannot stat '/opt/flink/usrlib/job.jar': No such file or directory"},
		"node silent, marked unknown":   {func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionUnknown }, "its node n1 has not answered since 12:00:00Z"},
		"node silent, marked not ready": {func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }, "its node n1 has not answered since 12:00:00Z"},
		"not ready yet": {func(p *corev1.Pod) {
			p.Status.Conditions[1].Status = corev1.ConditionFalse
			p.Status.ContainerStatuses[0].Ready = false
		}, ""},
		"is ended": {func(p *corev1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metav1.NewTime(noon.Add(time.Minute))), new(int64(60))
		}, "it is being ended on node n1 since 12:00:00Z"},
		"is ended, at once": {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.NewTime(noon)) }, "it is being ended on node n1 since 12:00:00Z"},
	} {
		got := processOf(jobManagerPod(c.change))
		if got.State != flink.ProcessRunning || got.Waiting != c.want {
			t.Errorf("%s: %s, %q\nwanted %q", name, got.State, got.Waiting, c.want)
		}
	}
}

func TestAProcessThatEndedAndIsToBeStartedAgainIsTold(t *testing.T) {
	loops := main(waits("CrashLoopBackOff", "back-off 40s"), exited(1, "Error", stack))
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"works":              {nil, false},
		"ended just now":     {main(exited(1, "Error", stack)), true},
		"waits to be begun":  {loops, true},
		"is begun again":     {main(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, exited(1, "Error", stack)), false},
		"image missing":      {main(waits("ImagePullBackOff", "not found"), exited(1, "Error", stack)), false},
		"secret missing":     {main(waits("CreateContainerConfigError", "not found"), exited(1, "Error", stack)), false},
		"its pod is deleted": {func(p *corev1.Pod) { loops(p); p.DeletionTimestamp = new(metav1.NewTime(noon)) }, false},
		"its node is silent": {func(p *corev1.Pod) { loops(p); p.Status.Conditions[1].Status = corev1.ConditionUnknown }, false},
		"its pod is over":    {func(p *corev1.Pod) { main(exited(1, "Error", stack))(p); p.Status.Phase = corev1.PodFailed }, false},
	} {
		if got := processOf(jobManagerPod(c.change)); got.Ended != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAProcessIsWhatItsPodIs(t *testing.T) {
	works := processOf(jobManagerPod(nil))
	if works.ID != "p" || works.Restarts != 0 || !works.StartedAt.Equal(noon.Add(time.Minute)) || works.Log != "kubectl -n team logs p" || works.Reason != "" {
		t.Errorf("%+v", works)
	}
	again := processOf(jobManagerPod(func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].RestartCount = 1
		p.Status.ContainerStatuses[0].LastTerminationState = exited(137, "OOMKilled", "")
	}))
	if again.Restarts != 1 || again.Reason != "ended with exit 137 (OOMKilled)" || again.Waiting != "" {
		t.Errorf("started again in place: %+v", again)
	}
	evicted := processOf(jobManagerPod(func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}
	}))
	if evicted.State != flink.ProcessExited || evicted.ExitCode != -1 || evicted.Reason != "Evicted: The node was low on resource: memory." {
		t.Errorf("evicted: %+v", evicted)
	}
}

// meshed puts a running proxy before Flink's container, as a service mesh may.
func meshed(p *corev1.Pod) {
	p.Spec.Containers = append([]corev1.Container{{Name: "proxy", Image: "mesh:x"}}, p.Spec.Containers...)
	p.Status.ContainerStatuses = append([]corev1.ContainerStatus{{
		Name: "proxy", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}},
	}}, p.Status.ContainerStatuses...)
}

func TestAContainerThatTheClusterPutsBeforeFlinksIsNotFlink(t *testing.T) {
	works := processOf(jobManagerPod(meshed))
	if !works.StartedAt.Equal(noon.Add(time.Minute)) || works.Log != "kubectl -n team logs p -c jobmanager" || works.Waiting != "" {
		t.Errorf("works: %+v", works)
	}
	crashes := processOf(jobManagerPod(func(p *corev1.Pod) {
		main(waits("CrashLoopBackOff", "back-off 40s"), exited(137, "OOMKilled", ""))(p)
		meshed(p)
	}))
	if want := "container jobmanager ends again and again, 4 times so far: it ended with exit 137 (OOMKilled)"; crashes.Waiting != want || crashes.Restarts != 4 {
		t.Errorf("crashes: %d, %q", crashes.Restarts, crashes.Waiting)
	}
	making := jobManagerPod(func(p *corev1.Pod) {
		main(waits("ContainerCreating", ""))(p)
		meshed(p)
		always := corev1.ContainerRestartPolicyAlways
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "sidecar", RestartPolicy: &always})
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: "sidecar", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}},
		})
	})
	if got := creating(making); !got.Equal(noon) {
		t.Errorf("being made since %s", got)
	}
}

func TestAMissingJarIsTold(t *testing.T) {
	const words = "cp: cannot stat '/opt/flink/usrlib/job.jar': No such file or directory"
	missing := jobManagerPod(func(p *corev1.Pod) {
		p.Status.InitContainerStatuses[0].State = exited(1, "Error", words+"\n")
	})
	if got := jarMissing(missing, jarContainer); got != words {
		t.Errorf("missing: %q", got)
	}
	for name, p := range map[string]*corev1.Pod{
		"found":     jobManagerPod(nil),
		"not tried": jobManagerPod(func(p *corev1.Pod) { p.Status = corev1.PodStatus{} }),
		"found at the second try": jobManagerPod(func(p *corev1.Pod) {
			p.Status.InitContainerStatuses[0].LastTerminationState = exited(1, "Error", words)
		}),
	} {
		if got := jarMissing(p, jarContainer); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestEachWantedReplicaIsAProcessAsLongAsItsDeploymentIsThere(t *testing.T) {
	quota := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "x" is forbidden: exceeded quota: jobs`,
	}}}}
	going := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: new(metav1.NewTime(noon))}}
	pod := jobManagerPod(nil)
	for name, c := range map[string]struct {
		d       *appsv1.Deployment
		pods    []*corev1.Pod
		wanted  int
		alive   int
		waiting string // of the last
	}{
		"nothing":                        {nil, nil, 1, 0, ""},
		"no Deployment, a pod":           {nil, []*corev1.Pod{pod}, 2, 1, ""},
		"no pod yet":                     {&appsv1.Deployment{}, nil, 2, 2, "no pod yet"},
		"pods may not be made":           {quota, []*corev1.Pod{pod}, 3, 3, "exceeded quota: jobs"},
		"being deleted, pods gone":       {going, nil, 3, 1, "being deleted since 12:00:00Z"},
		"being deleted, a pod left":      {going, []*corev1.Pod{pod}, 3, 1, ""},
		"an evicted one is not counted":  {&appsv1.Deployment{}, []*corev1.Pod{jobManagerPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), pod}, 1, 1, ""},
		"one of the other component not": {&appsv1.Deployment{}, []*corev1.Pod{jobManagerPod(func(p *corev1.Pod) { p.Labels[render.LabelComponent] = "x" })}, 1, 1, "no pod yet"},
	} {
		x := &seen{pods: c.pods}
		o := flink.RunObserved{TaskManagers: x.processes(c.d, render.JobManager, c.wanted)}
		last := ""
		if n := len(o.TaskManagers); n > 0 {
			last = o.TaskManagers[n-1].Waiting
		}
		if o.TaskManagersAlive() != c.alive || !strings.Contains(last, c.waiting) || c.waiting == "" && last != "" {
			t.Errorf("%s: %d alive, the last waits %q", name, o.TaskManagersAlive(), last)
		}
	}
}

func TestAContainerThatIsLongInTheMakingIsFound(t *testing.T) {
	making := jobManagerPod(main(waits("ContainerCreating", "")))
	making.Status.InitContainerStatuses = nil
	if got := creating(making); !got.Equal(noon) {
		t.Errorf("since %s", got)
	}
	copying := jobManagerPod(main(waits("PodInitializing", "")))
	copying.Status.InitContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, p := range map[string]*corev1.Pod{
		"works": jobManagerPod(nil), "copies its jar": copying,
		"has no node": jobManagerPod(func(p *corev1.Pod) { p.Spec.NodeName, p.Status.ContainerStatuses = "", nil }),
	} {
		if got := creating(p); !got.IsZero() {
			t.Errorf("%s: %s", name, got)
		}
	}
	events := []corev1.Event{
		{Type: corev1.EventTypeWarning, Reason: "FailedMount", Message: `secret "x" not found`, LastTimestamp: metav1.NewTime(noon.Add(time.Second))},
		{Type: corev1.EventTypeWarning, Reason: "Old", Message: "old", LastTimestamp: metav1.NewTime(noon)},
		{Type: corev1.EventTypeNormal, Reason: "Scheduled", Message: "x", LastTimestamp: metav1.NewTime(noon.Add(time.Minute))},
	}
	if got := telling(events); got != `FailedMount: secret "x" not found` {
		t.Errorf("told: %q", got)
	}
}

func TestTheTightestQuotaIsTheRoom(t *testing.T) {
	quota := func(name string, hard, used string, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceLimitsMemory: resource.MustParse(hard)}, Scopes: scopes},
			Status:     corev1.ResourceQuotaStatus{Used: corev1.ResourceList{corev1.ResourceLimitsMemory: resource.MustParse(used)}},
		}
	}
	if got := roomOf("team", nil, 5); got != (flink.Room{}) {
		t.Errorf("no quota: %+v", got)
	}
	got := roomOf("team", []*corev1.ResourceQuota{
		quota("wide", "100Gi", "0"), quota("tight", "20Gi", "18Gi"), quota("other", "10Gi", "1Gi"),
		quota("not ours", "1Gi", "1Gi", corev1.ResourceQuotaScopeTerminating),
	}, 1<<30)
	if want := (flink.Room{MemoryTotal: 20 << 30, MemoryUsed: 19 << 30, Limit: "resource quota tight of namespace team"}); got != want {
		t.Errorf("%+v", got)
	}
	if got := roomOf("team", []*corev1.ResourceQuota{quota("none", "0", "0", corev1.ResourceQuotaScopeNotTerminating)}, 0); got.Free() > 1 {
		t.Errorf("nothing allowed: %+v", got)
	}
}

func TestHighAvailabilityDataOfBothMajorsIsRead(t *testing.T) {
	run := flink.Run{UID: "u", Term: 1, Run: 2}
	cm := func(name string, keys ...string) *corev1.ConfigMap {
		data := map[string]string{}
		for _, k := range keys {
			k, v, changed := strings.Cut(k, "=")
			if !changed {
				v = "rO0ABXNyA"
			}
			data[k] = v
		}
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			leaderAnnotation: `{"holderIdentity":"h","renewTime":"2026-03-04T12:00:00.123456Z"}`,
		}}, Data: data}
	}
	leader, pointers := render.LeaderConfigMap(run), render.CheckpointConfigMap(run)
	renewedAt := noon.Add(123456 * time.Microsecond)
	for name, c := range map[string]struct {
		maps  []*corev1.ConfigMap
		meant bool
		want  *flink.HAData
	}{
		"none, and none was meant": {nil, false, nil},
		"none yet":                 {nil, true, &flink.HAData{}},
		"2.x": {
			[]*corev1.ConfigMap{cm(leader, "leader.dispatcher", "executionPlan-x"), cm(pointers, "counter", "checkpointID-0000000000000000009", "checkpointID-0000000000000000010")},
			true,
			&flink.HAData{Graph: true, Pointers: true, Newest: 10, Renewed: renewedAt},
		},
		"1.20":          {[]*corev1.ConfigMap{cm(leader, "jobGraph-x"), cm(pointers, "counter")}, true, &flink.HAData{Graph: true, Pointers: true, Renewed: renewedAt}},
		"its job ended": {[]*corev1.ConfigMap{cm(leader, "leader.dispatcher")}, true, &flink.HAData{Renewed: renewedAt}},
		"graph alone":   {[]*corev1.ConfigMap{cm(leader, "jobGraph-x")}, true, &flink.HAData{Graph: true, Renewed: renewedAt}},
		"a graph changed by hand": {
			[]*corev1.ConfigMap{cm(leader, "jobGraph-x=garbage"), cm(pointers, "counter=1", "checkpointID-0000000000000000009")},
			true,
			&flink.HAData{Pointers: true, Newest: 9, Renewed: renewedAt},
		},
		"a checkpoint changed by hand": {
			[]*corev1.ConfigMap{cm(leader, "jobGraph-x"), cm(pointers, "counter=1", "checkpointID-0000000000000000009=", "checkpointID-0000000000000000008")},
			true,
			&flink.HAData{Graph: true, Renewed: renewedAt},
		},
		"a checkpoint added by hand": {
			[]*corev1.ConfigMap{cm(leader, "executionPlan-x"), cm(pointers, "checkpointID-0000000000000000009", "checkpointID-0000000000000999999=bm8=")},
			true,
			&flink.HAData{Graph: true, Renewed: renewedAt},
		},
		"what is not read": {[]*corev1.ConfigMap{cm(pointers, "checkpointID-x", "checkpointID-")}, false, &flink.HAData{Pointers: true, Renewed: renewedAt}},
	} {
		if len(c.maps) > 0 { // what the watch keeps of them says the same
			kept := make([]*corev1.ConfigMap, len(c.maps))
			for i, m := range c.maps {
				o, err := keysAlone(m.DeepCopy())
				if err != nil {
					t.Fatal(err)
				}
				kept[i] = o.(*corev1.ConfigMap)
			}
			if a, b := haOf(run, c.maps, c.meant), haOf(run, kept, c.meant); *a != *b {
				t.Errorf("%s: %+v, and as the watch keeps them %+v", name, a, b)
			}
		}
		got := haOf(run, c.maps, c.meant)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %+v, wanted %+v", name, got, c.want)
		}
	}
}

func TestNamesOfRunsAreReadAsTheyAreWritten(t *testing.T) {
	for _, run := range []flink.Run{{UID: "0123456789abcdef0123456789abcdef", Term: 1, Run: 1}, {UID: "a-t1-r2", Term: 12, Run: 345}} {
		if got, ok := parseRunName(render.Name(run)); !ok || got != run {
			t.Errorf("%s: %+v, %v", render.Name(run), got, ok)
		}
	}
	for _, name := range []string{"", "j", "jx-t0-r1", "jx-t1-r0", "x-t1-r1", "jx-t1-r99999999999", "jx-t1-r1-jm"} {
		if got, ok := parseRunName(name); ok {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}

// Output of a program comes through the API server as it is, in whatever encoding; a report that is not valid UTF-8 cannot be sent.
func TestWordsOfOthersAreValidText(t *testing.T) {
	for name, words := range map[string]string{
		"short": "caf\xe9 closed", "long": strings.Repeat("é", maxWords), "long and not valid": strings.Repeat("\xff", 2*maxWords),
	} {
		got := limited(words)
		if !utf8.ValidString(got) || len(got) > maxWords+len("…") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := limited("caf\xe9 closed"); got != "caf closed" {
		t.Errorf("got %q", got)
	}
}
