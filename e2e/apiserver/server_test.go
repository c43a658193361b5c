package apiserver_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/e2e/apiserver"
)

func TestAServerIsReadyAndLeavesNothing(t *testing.T) {
	s, err := apiserver.Start(t.Context(), apiserver.Options{AuditPolicy: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.AuditLog)
	if err != nil || !strings.Contains(string(text), `"requestURI":"/api/v1/namespaces/default"`) {
		t.Errorf("the audit log does not tell what was asked: %v", err)
	}
	dir := strings.TrimSuffix(s.Kubeconfig, "/kubeconfig")
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if out, err := exec.Command("pgrep", "-f", dir).Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
}
