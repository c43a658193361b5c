package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/rbac"
)

func say(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())

	return out.String(), err
}

func TestRBACSpeaksOfTheNamespacesInTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	text := "hub: {address: h:1}\nruntime:\n  kind: kubernetes\n  kubernetes:\n    namespace: ww\n    tenants: [{name: shop, namespace: streams, settings: {a: b}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := rbac.Installation{Namespace: "ww", Tenants: []rbac.TenantPlace{{Name: "shop", Namespace: "streams"}}}
	got, err := say(t, "rbac", "--config", file)
	if err != nil || got != rbac.Words(at) {
		t.Errorf("%v in\n%s", err, got)
	}
	got, err = say(t, "rbac", "--config", file, "-o", "yaml")
	if err != nil || got != rbac.RolesYAML(rbac.Roles(at)) {
		t.Errorf("%v in\n%s", err, got)
	}
	var list struct{ Items []rbac.Role }
	got, err = say(t, "rbac", "--config", file, "-o", "json")
	if err := json.Unmarshal([]byte(got), &list); err != nil || len(list.Items) != 4 || list.Items[1].Metadata.Namespace != "streams" {
		t.Errorf("%v in\n%s", err, got)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestRBACWithoutAFileIsAnExample(t *testing.T) {
	got, err := say(t, "rbac")
	if err != nil || got != rbac.Words(rbac.Example()) {
		t.Errorf("%v in\n%s", err, got)
	}
}

func TestRBACOfAHostIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("runtime: {kind: process}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := say(t, "rbac", "--config", file); err == nil || !strings.Contains(err.Error(), "runtime.kind") {
		t.Errorf("got %v", err)
	}
	if _, err := say(t, "rbac", "-o", "xml"); err == nil || !strings.Contains(err.Error(), "words, yaml or json") {
		t.Errorf("got %v", err)
	}
}
