package cli

import (
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

const podRun = "j0198c1f2a3b44c5d8e9f0a1b2c3d4e5f-t1-r4"

// podJob runs in Kubernetes, and somebody holds it there.
func podJob() *flinkv1.Job {
	j := runningJob()
	j.GetMetadata().SetName("held")
	s := j.GetStatus()
	s.SetLinks(flinkv1.Links_builder{
		FlinkUi: "https://" + podRun + "-rest.team-a.svc:8081",
		Logs: []string{
			"kubectl -n team-a logs " + podRun + "-jm-6c9f7d5b8-x2x9q", "kubectl -n team-a logs " + podRun + "-tm-7d4b9c6f5-k8w2p",
		},
		CheckpointsDir: "s3://state/default/clicks/t1/r4/checkpoints", SavepointsDir: "s3://state/default/clicks/savepoints",
	}.Build())
	s.SetConditions(append(s.GetConditions(), flinkv1.Condition_builder{
		Type: "Held", Status: "True", Reason: "Hold", Message: "Held by jo@example.org since 11:20: node pool upgrade", LastTransitionTime: ago(40 * time.Minute),
	}.Build()))
	return j
}

func TestWhatPeopleSeeOfAJobInKubernetesLooksAsReviewed(t *testing.T) {
	f := &fakeHub{jobs: []*flinkv1.Job{runningJob(), podJob()}}
	for file, args := range map[string]string{
		"describe-kubernetes.txt": "describe job held",
		"get-jobs-held.txt":       "get jobs -o wide",
		"invite-chart.txt":        "cluster invite new-one --hub-address hub.example.org:7443 --namespace flink --chart /tmp/agent-0.2.0.tgz",
	} {
		t.Run(file, func(t *testing.T) {
			got := f.do(t.Context(), "", strings.Fields(args)...)
			if got.code != ExitOK || got.err != "" {
				t.Fatalf("exit %d: %s", got.code, got.err)
			}
			golden(t, file, got.out)
		})
	}
}

func TestAHoldThatIsOverIsNotShown(t *testing.T) {
	j := podJob()
	conditions := j.GetStatus().GetConditions()
	conditions[len(conditions)-1].SetStatus("False")
	if got := situation(j.GetStatus()); got != "InSync" {
		t.Errorf("situation %q", got)
	}
	stays := podJob().GetStatus()
	stays.SetSituation("Held")
	if got := situation(stays); got != "Held" {
		t.Errorf("situation %q, said twice", got)
	}
	p := &sheet{now: now}
	if p.hold(j.GetStatus()); p.Len() > 0 {
		t.Errorf("said %q", p.String())
	}
}

func TestAHoldCanBeWaitedFor(t *testing.T) {
	f := &fakeHub{jobs: []*flinkv1.Job{runningJob(), podJob()}}
	for line, want := range map[string]int{
		"wait job/held --for condition=Held":                        ExitOK,
		"wait job/clicks --for condition=Held=False":                ExitOK,
		"wait job/held --for condition=Held=False --timeout 1ms":    ExitTimeout,
		"wait job/clicks --for condition=Held=Sideways --timeout 0": ExitUsage,
	} {
		synctest.Test(t, func(t *testing.T) { // in false time: a limit is not over before the first answer
			if got := f.do(t.Context(), "", strings.Fields(line)...); got.code != want {
				t.Errorf("%s: exit %d, want %d: %s%s", line, got.code, want, got.out, got.err)
			}
		})
	}
}

// What stands there is copied into a shell, and an agent of somebody else's cluster wrote it.
func TestOnlyNamesOfKubernetesBecomeCommands(t *testing.T) {
	for address, want := range map[string]bool{
		"https://x-rest.team-a.svc:8081":               true,
		"https://x-rest.team-a.svc.cluster.local:8081": true,
		"https://x-rest.team-a.svc":                    true,
		"http://x-rest.team-a.svc:8081":                false,
		"https://127.0.0.1:8081":                       false,
		"https://x-rest.team-a.example.org:8081":       false,
		"https://x;reboot.team-a.svc:8081":             false,
		"https://$(reboot).team-a.svc:8081":            false,
		"https://-oX.team-a.svc:8081":                  false,
		"https://x.a'b.svc:8081":                       false,
		"https://x.team-a.svc:80;81":                   false,
		"https://x..svc":                               false,
	} {
		p := &sheet{now: now}
		p.flinkUI(address)
		if got := strings.Contains(p.String(), "port-forward"); got != want || strings.Contains(p.String(), "reboot.") && want {
			t.Errorf("%s: commands %v, want %v:\n%s", address, got, want, p.String())
		}
	}
}

func TestTheHelmCommandIsReadByAShellAsItWasMeant(t *testing.T) {
	v := invitation{now: now, chart: "it's a chart", namespace: "n", InviteClusterResponse: adminv1.InviteClusterResponse_builder{
		HubAddress: "[::1]:7443", TrustDomain: "a,b{c}$HOME", CaPin: "sha256:ab", Token: "t`id`\\ ",
		Cluster: adminv1.Cluster_builder{Name: "eu 1"}.Build(),
	}.Build()}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `helm() { for w in "$@"; do printf '%s\n' "$w"; done; }`+"\n"+v.helm()).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"upgrade", "--install", "waterwheel-agent", "it's a chart", "--namespace", "n", "--create-namespace",
		"--set-string", "hub.address=[::1]:7443",
		"--set-string", `hub.trustDomain=a\,b\{c\}$HOME`,
		"--set-string", "hub.caPin=sha256:ab",
		"--set-string", "clusterName=eu 1",
		"--set-string", "join.token=t`id`\\\\ ", "",
	}, "\n")
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}
