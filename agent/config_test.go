package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnknownKeyOfTheFileIsRefusedWithItsLineInOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("dir: /x\nhub:\n  adress: h:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(path)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "[3:3]") || !strings.Contains(err.Error(), `"adress"`) {
		t.Errorf("got %v, want one line that names the key and its place", err)
	}
}

func TestMetricsForOtherHostsHaveToBeAskedFor(t *testing.T) {
	for addr, tc := range map[string]struct{ public, ok bool }{
		"127.0.0.1:9465": {false, true}, ":9465": {false, false}, "0.0.0.0:9465": {true, true}, "9465": {true, false},
	} {
		c := Config{Metrics: MetricsConfig{Listen: addr, Public: tc.public}, Health: ListenerConfig{Listen: ":9466"}}
		err := c.Validate() // it has other faults
		if strings.Contains(err.Error(), "metrics.listen") == tc.ok || strings.Contains(err.Error(), "health.listen") {
			t.Errorf("%s, public %v: %v", addr, tc.public, err)
		}
	}
}

func TestWhatAPlaceSaysOfRunsIsRefusedAtTheAgentsStart(t *testing.T) {
	for field, text := range map[string]string{
		`runtime.kubernetes.tenants[0].settings[rest.port]: is reserved`:                                   "    tenants: [{name: a, settings: {rest.port: \"1\"}}]",
		`runtime.kubernetes.tenants[0].settings[kubernetes.cluster-id]: is reserved`:                       "    tenants: [{name: a, settings: {kubernetes.cluster-id: x}}]",
		`runtime.kubernetes.podTemplate.jobManager: pod template of the jobmanager: spec.hostNetwork`:      "    podTemplate: {jobManager: {spec: {hostNetwork: true}}}",
		`runtime.kubernetes.podTemplate.taskManager: pod template of the taskmanager: spec.containers[tas`: "    podTemplate: {taskManager: {spec: {containers: [{name: taskmanager, command: [sh]}]}}}",
		`runtime.kubernetes.podTemplate.jobManager: pod template of the jobmanager: spec.containers[x].se`: "    podTemplate: {jobManager: {spec: {containers: [{name: x, image: i, securityContext: {privileged: true}}]}}}",
		`runtime.kubernetes.podTemplate.jobManager: pod template of the jobmanager: spec.volumes[tmp]`:     "    podTemplate: {jobManager: {spec: {volumes: [{name: tmp, emptyDir: {}}]}}}",
	} {
		path := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(path, []byte("runtime:\n  kind: kubernetes\n  kubernetes:\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), field) { // it has other faults
			t.Errorf("%s\nwanted %s\ngot %v", text, field, err)
		}
	}
}
