package plan_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

// kubeLines are what may happen to a job in Kubernetes.
var kubeLines = []string{
	"order parallelism=1", "order parallelism=2", "order class=com.example.A", "order class=com.example.B",
	"order state=suspended", "order state=running", "order state=running", "order upgradeMode=stateless", "order upgradeMode=savepoint",
	"order switch=cold", "order switch=warm", "restart", "restart --from newest", "restart --from /s/elsewhere/savepoint-9",
	"kill jm", "kill jm", "kill jm", "kill tm", "kill all", "kill rest", "fail com.example.Bug: no",
	"fail org.apache.flink.util.FlinkRuntimeException: Failed to create checkpoint storage at checkpoint coordinator side.",
	"ha objects", "ha objects", "ha lost", "ha pointers-lost", "ha objects-and-data", "ha hang",
	"ha broken java.io.FileNotFoundException: s3://b/ha/executionPlan-1", "ha broken java.io.FileNotFoundException: s3://b/ha/executionPlan-1",
	"fault crashes java.nio.file.AccessDeniedException: s3://b/ha: 403 Forbidden",
	"wait jm ImagePull: no such image", "wait jm Unschedulable: no node has room", "wait jm", "wait tm Unschedulable: no node has room", "wait tm",
	"drift Service j1-t1-r1-rest is missing", "fault fights Service j1-t1-r1-rest is missing", "hold alice", "unhold", "unhold",
	"fault preflight com.example.Main: no", "fault ensure 3", "fault submit java.util.concurrent.TimeoutException: ask timed out",
	"fault answer", "fault start-fails com.example.Odd: who knows", "fault vain com.example.Denied: not with these", "fault savepoints 2", "fault savepoint-hangs", "fault undead",
	"fault crash before", "fault crash before", "fault crash after", "fault crash after", "fault late 45s", "fault stuck", "fault forgets",
	"fault cancel-hangs", "fault swallows", "cancel", "finish", "fault off", "fault off",
}

func playKubernetes(t *rapid.T) *script {
	s := newScript()
	must(t, s.do("kubernetes "+rapid.SampledFrom([]string{"keeps", "forgets"}).Draw(t, "End of runs")))
	playLines(t, s, kubeLines)
	return s
}

// healKubernetes ends all faults but what only a person can answer.
func healKubernetes(t *rapid.T, s *script) {
	must(t, s.do("unhold"))
	heal(t, s)
	for _, r := range s.w.runs {
		k := r.kube
		if k.hung {
			s.w.killJM(r)
		}
		if k.jmWait != "" {
			k.jmWait, k.ended, r.jm = "", false, &process{start: s.w.now}
		}
		if k.tmWait = ""; true {
			for _, p := range r.tms {
				if p.dead {
					p.dead, p.start = false, s.w.now
				}
			}
		}
	}
}

func TestInKubernetesWhateverHappensTheLawsHoldAndItSettlesOrAsks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := playKubernetes(t)
		healKubernetes(t, s)
		must(t, s.do("run 40m"))
		lawful(t, s)
		p := s.w.pass()
		if err := settled(s, p); err != nil {
			t.Fatalf("%v\n%s", err, s.out.String())
		}
		if p.Status.State != flink.Failed || s.do("restart --from newest") != nil {
			return
		}
		must(t, s.do("run 5m"))
		lawful(t, s)
		if p = s.w.pass(); p.Situation != plan.InSync && s.w.order.Spec.State == flink.StateRunning {
			t.Fatalf("a snapshot was named, and %s: %s\n%s", p.Situation, p.Status.Message, s.out.String())
		}
	})
}

func TestInKubernetesADeletedJobGoesAndLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := playKubernetes(t)
		must(t, s.do("delete "+rapid.SampledFrom([]string{"", "savepoint", "cancel"}).Draw(t, "policy")))
		must(t, s.do("run "+rapid.SampledFrom(pauses).Draw(t, "pause")))
		healKubernetes(t, s)
		must(t, s.do("run 30m"))
		lawful(t, s)
		if !s.gone {
			if err := settled(s, s.w.pass()); err != nil {
				t.Fatalf("%v\n%s", err, s.out.String())
			}
			must(t, s.do("delete cancel"))
			must(t, s.do("run 5m"))
		}
		lawful(t, s)
		if !s.gone {
			t.Fatalf("deleted with cancel, and not gone\n%s", s.out.String())
		}
		for _, r := range s.w.runs {
			if !r.kube.nothing() {
				t.Fatalf("gone, and of %s there is %+v\n%s", r.launch.Run, *r.kube, s.out.String())
			}
		}
	})
}

// TestInKubernetesWhatOnlyRestartsHealsWithoutTheAgent: a run whose processes end,
// whose pods wait and whose objects are deleted stays the same run.
func TestInKubernetesWhatOnlyRestartsHealsInItsRun(t *testing.T) {
	harmless := []string{
		"kill jm", "kill tm", "kill all", "ha objects", "drift Service j1-t1-r1-rest is missing", "kill rest",
		"wait jm ImagePull: no such image", "wait tm Unschedulable: no node has room", "wait jm", "wait tm", "fault crash before", "fault crash after",
	}
	rapid.Check(t, func(t *rapid.T) {
		s := newScript()
		must(t, s.do("kubernetes"))
		must(t, s.do("run 30s"))
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			_ = s.do(rapid.SampledFrom(harmless).Draw(t, "line"))
			must(t, s.do("run "+rapid.SampledFrom([]string{"100ms", "500ms", "1s", "3s", "10s", "30s"}).Draw(t, "pause")))
			lawful(t, s)
		}
		healKubernetes(t, s)
		must(t, s.do("run 10m"))
		lawful(t, s)
		if p := s.w.pass(); p.Situation != plan.InSync || p.Memory.Current.Run.Run != 1 {
			t.Fatalf("%s with run %s: %s\n%s", p.Situation, p.Memory.Current.Run, p.Status.Message, s.out.String())
		}
	})
}

func TestInKubernetesAHealthyJobIsLeftAloneAndAdoptedWithoutRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := playKubernetes(t)
		healKubernetes(t, s)
		must(t, s.do("run 40m"))
		p := s.w.pass()
		if p.Situation != plan.InSync {
			t.Skip("not in sync")
		}
		run := p.Memory.Current.Run
		for range 100 {
			p = s.w.pass()
			if p.Action != nil || p.Situation != plan.InSync || p.Memory.Current.Run != run {
				t.Fatalf("%s %v of %s, was in sync with %s\n%s", p.Situation, p.Action, p.Memory.Current.Run, run, s.out.String())
			}
			s.w.advance(p.RequeueAt)
		}
		must(t, s.do("ha mended")) // what is broken and not noticed yet is not health
		if rapid.Bool().Draw(t, "restarted") {
			must(t, s.do("kill jm"))
			must(t, s.do("run "+rapid.SampledFrom(pauses).Draw(t, "pause")))
		}
		must(t, s.do("forget"))
		must(t, s.do("run 2m"))
		lawful(t, s)
		if p = s.w.pass(); p.Situation != plan.InSync || p.Memory.Current.Run != run {
			t.Fatalf("without records %s with %s: %s\n%s", p.Situation, p.Memory.Current.Run, p.Status.Message, s.out.String())
		}
	})
}
